"""The admin routes for the token and the cache, behind the gateway's real middleware."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backend.app.api.admin import cache, huggingface
from backend.app.auth import Policy
from backend.app.config import Settings
from backend.app.hub import patterns
from backend.app.hub.identity import HubIdentity
from backend.app.middleware import stack
from backend.app.models.state import Failure, State
from tests.fakes.hub.process import FakeHub, fake_hub
from tests.support.hub import CHAT, Desk, run

TOKEN, OTHER = "hf_goodgoodgood", "hf_otherother"
REPO = "org/chat"
GATED = "org/gated"


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with fake_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add(REPO, CHAT)
        hub.add(GATED, CHAT)
        yield hub


@pytest.fixture
def hub(one_hub: FakeHub) -> FakeHub:
    accounts = {TOKEN: {"name": "someone", "repos": [GATED]}, OTHER: {"name": "other"}}
    one_hub.set(faults=[], forget=True, gated=[GATED], accounts=accounts)
    return one_hub


class Model:
    """As much of a wrapper as these routes look at."""

    def __init__(self, key: str, source: str, *, local: bool = False) -> None:
        self.key = key
        self.spec = SimpleNamespace(source=source, local=local)
        self.state = State.IDLE
        self.failure: Failure | None = None
        goal = SimpleNamespace(up=False, replicas=1)
        self.supervisor = SimpleNamespace(settled=True, goal=goal)
        self.asked: list[str] = []

    def load(self, replicas: int) -> None:
        self.asked.append(f"load {replicas}")

    def download(self) -> None:
        self.asked.append("download")

    def look_again(self) -> None:
        self.asked.append("look")


class Admin:
    """The routes with two models from the Hub and a local one."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.chat, self.gated = Model("qwen", REPO), Model("canary", GATED)
        local = Model("local", "/somewhere", local=True)
        self.models = {m.key: m for m in (self.chat, self.gated, local)}
        desk.manager.artifacts(patterns.chat(REPO))
        desk.manager.artifacts(patterns.chat(GATED))
        settings = Settings.model_validate({"api_host": "127.0.0.1"})
        self.app = FastAPI(middleware=stack(settings, Policy.build(settings)))
        registry = SimpleNamespace(models=self.models)
        self.app.state.gateway = SimpleNamespace(hub=desk.manager, registry=registry)
        for part in (cache, huggingface):
            self.app.include_router(part.router, prefix="/api/admin")

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.request(method, "/api/admin" + path, **more)
            return answer.status_code, answer.json()


@pytest.fixture
def admin(hub: FakeHub, tmp_path: Path) -> Admin:
    return Admin(Desk(hub, tmp_path / "cache"))


def test_without_a_token(admin: Admin) -> None:
    async def body() -> None:
        status, told = await admin.ask("GET", "/huggingface/token")
        assert status == 200
        gate = {"repo": GATED, "url": f"{admin.desk.hub.url}/{GATED}", "accessible": False}
        assert told == {
            "present": False,
            "source": "none",
            "valid": None,
            "name": None,
            "missing_scopes": [],
            "gated": [gate],
        }

    run(body)


def test_a_token_is_set_checked_and_cleared(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        status, told = await admin.ask("POST", "/huggingface/token", json={"token": TOKEN})
        assert status == 200
        assert (told["present"], told["source"], told["valid"]) == (True, "stored", True)
        assert told["name"] == "someone"
        assert [gate["accessible"] for gate in told["gated"]] == [True]
        assert TOKEN not in str(told)
        assert admin.desk.manager.tokens.get().value == TOKEN
        asked = len(admin.desk.hub.seen("/api/whoami-v2"))
        assert await admin.ask("GET", "/huggingface/token") == (200, told)
        assert len(admin.desk.hub.seen("/api/whoami-v2")) == asked, "the answer still holds"
        for method, more in (("POST", {"json": {"token": None}}), ("DELETE", {})):
            await admin.ask("POST", "/huggingface/token", json={"token": TOKEN})
            status, told = await admin.ask(method, "/huggingface/token", **more)
            assert (status, told["present"], told["source"]) == (200, False, "none")
        assert admin.desk.manager.tokens.get().value is None

    with caplog.at_level(logging.DEBUG):
        run(body)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("wrong", ["hf_wrongwrong", "", " "])
def test_a_token_that_can_be_none_is_refused(admin: Admin, wrong: str) -> None:
    """The Hub does not know it, or a variable was not set: the one before is kept."""

    async def body() -> None:
        await admin.ask("POST", "/huggingface/token", json={"token": TOKEN})
        status, told = await admin.ask("POST", "/huggingface/token", json={"token": wrong})
        assert status == 400
        assert told["error"]["code"] == "invalid_token"
        assert "hf_wrongwrong" not in str(told)
        assert admin.desk.manager.tokens.get().value == TOKEN

    run(body)


@pytest.mark.parametrize("trouble", ["down", "silent", "gone"])
def test_a_token_is_kept_when_the_hub_does_not_answer(
    hub: FakeHub, tmp_path: Path, trouble: str
) -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:9"} if trouble == "gone" else {}
    admin = Admin(Desk(hub, tmp_path / "cache", env=env))
    admin.desk.manager.identity = HubIdentity(env.get("HF_ENDPOINT", hub.url), answer_s=0.3)
    hub.fault("/api/", "status" if trouble == "down" else "silence", status=503)

    async def body() -> None:
        status, told = await admin.ask("POST", "/huggingface/token", json={"token": TOKEN})
        assert (status, told["present"], told["valid"], told["gated"]) == (200, True, None, [])
        assert admin.desk.manager.tokens.get().value == TOKEN

    run(body)


def test_a_token_without_the_scope_says_which(admin: Admin) -> None:
    admin.desk.hub.set(accounts={TOKEN: {"name": "a", "reads_gated": False, "repos": [GATED]}})

    async def body() -> None:
        _, told = await admin.ask("POST", "/huggingface/token", json={"token": TOKEN})
        assert told["valid"] is True
        assert "gated repos" in told["missing_scopes"][0]
        assert told["gated"][0]["accessible"] is False

    run(body)


@pytest.mark.parametrize("sent", [{}, {"token": 7}, {"token": "x", "more": 1}])
def test_a_wrong_body_is_refused(admin: Admin, sent: dict[str, Any]) -> None:
    async def body() -> None:
        status, _ = await admin.ask("POST", "/huggingface/token", json=sent)
        assert status in (400, 422)
        assert admin.desk.manager.tokens.get().value is None

    run(body)


def test_a_new_token_tries_again_what_failed_for_lack_of_one(admin: Admin) -> None:
    admin.chat.state = admin.gated.state = State.FAILED
    admin.chat.failure = Failure("no GPU", code="cuda_required")
    admin.gated.failure = Failure("gated", code="gated")

    async def body() -> None:
        await admin.ask("POST", "/huggingface/token", json={"token": TOKEN})
        assert (admin.chat.asked, admin.gated.asked) == ([], ["download"])
        admin.gated.supervisor.goal.up = True
        await admin.ask("POST", "/huggingface/token", json={"token": OTHER})
        assert admin.gated.asked == ["download", "load 1"]
        await admin.ask("DELETE", "/huggingface/token")
        assert len(admin.gated.asked) == 2, "clearing one cures nothing"

    run(body)


def test_the_cache_is_listed_and_refuses_to_lose_what_is_in_use(admin: Admin) -> None:
    async def body() -> None:
        status, told = await admin.ask("GET", "/cache")
        assert (status, told["repos"]) == (200, [])
        assert told["directory"] == str(admin.desk.cache)
        assert told["disk_free"] > 0
        await admin.desk.fetch(admin.desk.manager.artifacts(patterns.chat(REPO)))
        _, told = await admin.ask("GET", "/cache")
        (entry,) = told["repos"]
        assert (entry["repo"], entry["state"], entry["files"]) == (REPO, "complete", 3)
        assert (entry["in_use"], entry["used_by"]) == (False, ["qwen"])
        for state in (State.READY, State.LOADING, State.DOWNLOADING, State.UNLOADING):
            admin.chat.state = state
            status, error = await admin.ask("DELETE", f"/cache/{REPO}")
            assert (status, error["error"]["code"]) == (409, "cache_in_use")
        admin.chat.state, admin.chat.supervisor.settled = State.IDLE, False
        status, _ = await admin.ask("DELETE", f"/cache/{REPO}")
        assert status == 409, "it is about to be loaded"
        _, told = await admin.ask("GET", "/cache")
        assert told["repos"][0]["in_use"] is True
        admin.chat.supervisor.settled = True
        status, told = await admin.ask("DELETE", f"/cache/{REPO}")
        assert status == 200
        assert told["freed_bytes"] >= 3_000_000
        assert admin.chat.asked == ["look"], "whose files they were sees that they are gone"
        assert (await admin.ask("DELETE", f"/cache/{REPO}"))[0] == 404

    run(body)


@pytest.mark.parametrize("repo", ["../../etc", "%2e%2e/%2e%2e/etc", "org/%2e%2e", "%2Fetc"])
def test_no_path_leads_out_of_the_cache(admin: Admin, repo: str) -> None:
    async def body() -> None:
        precious = admin.desk.cache.parent / "etc"
        await asyncio.to_thread(precious.mkdir)
        status, _ = await admin.ask("DELETE", f"/cache/{repo}")
        assert status in (400, 404)
        assert await asyncio.to_thread(precious.is_dir)

    run(body)
