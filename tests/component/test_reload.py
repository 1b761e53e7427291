"""The models' configuration is read again while the gateway serves."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.support.engine import FAKE_MODEL, FAKE_PYTHON
from tests.support.gateway import GatewayProcess, chat, eventually, gateway

FAKE = {"model": str(FAKE_MODEL), "python": str(FAKE_PYTHON)}
SLOW = "--fake-tps 20"


def table(key: str, **fields: Any) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join([f"[{key}]", *lines, ""])


def small(key: str = "small", **fields: Any) -> str:
    return table(key, kind="chat", **FAKE, **fields)


class Running:
    """A gateway with fake engines and its MODELS_FILE."""

    def __init__(self, process: GatewayProcess, file: Path, http: httpx.Client) -> None:
        self.process, self.file, self.http = process, file, http

    def reload(self, text: str, **params: str) -> dict[str, dict[str, Any]]:
        self.file.write_text(text)
        answer = self.http.post("/api/admin/models/reload", params=params)
        assert answer.status_code == 200, answer.text
        assert answer.json()["file"] == str(self.file)
        return {change["key"]: change for change in answer.json()["models"]}

    def models(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/api/admin/status").json()["models"]
        return found

    def load(self, key: str) -> None:
        self.http.post(f"/api/admin/models/{key}/load", params={"wait": "true"}).raise_for_status()

    def engine(self, key: str) -> int:
        """The process id of a model's engine."""
        for process in self.process.engines():
            line = process.cmdline()
            if line[line.index("--served-model-name") + 1] == key:
                return int(process.pid)
        raise AssertionError(f"{key} has no engine")

    def names(self) -> set[str]:
        return {entry["id"] for entry in self.http.get("/v1/models").json()["data"]}

    def say(self, model: str, text: str = "a b", **more: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=chat(text, **more) | {"model": model})


@contextmanager
def configured(tmp: Path, text: str, **settings: str) -> Iterator[Running]:
    file = tmp / "models.toml"
    file.write_text(text)
    with (
        gateway(MODELS_FILE=str(file), **settings) as process,
        process.client() as http,
    ):
        yield Running(process, file, http)


@contextmanager
def streaming(running: Running, model: str, tokens: int) -> Iterator[Callable[[], str]]:
    """A chat that is being answered; what it yields waits for its end and returns all of it."""
    received: list[str] = []
    begun = threading.Event()

    def read() -> None:
        body = chat("a", stream=True, max_tokens=tokens) | {"model": model}
        with (
            running.process.client() as http,
            http.stream("POST", "/v1/chat/completions", json=body) as answer,
        ):
            for piece in answer.iter_text():
                received.append(piece)
                begun.set()

    thread = threading.Thread(target=read)
    thread.start()

    def whole() -> str:
        thread.join(30)
        assert not thread.is_alive()
        return "".join(received)

    assert begun.wait(20)
    yield whole
    whole()


def test_what_did_not_change_goes_on_undisturbed(tmp_path: Path) -> None:
    with configured(tmp_path, "", QWEN_ENGINE_ARGS=SLOW) as running:
        running.load("qwen")
        before = running.engine("qwen")
        with streaming(running, "qwen", 30) as whole:
            changes = running.reload(small(aliases=["mini"]))
            assert changes["small"]["change"] == "added"
            assert {c["change"] for k, c in changes.items() if k != "small"} == {"unchanged"}
            assert running.say("mini", max_tokens=2).json()["model"] == "mini"
            assert "[DONE]" in whole()
            assert "tok29" in whole()
        assert running.engine("qwen") == before
        assert {"small", "mini", "qwen"} < running.names()
        assert running.models()["small"]["state"] == "ready"


def test_what_is_removed_is_drained_and_then_gone(tmp_path: Path) -> None:
    with configured(tmp_path, small(engine_args=SLOW)) as running:
        running.load("small")
        with streaming(running, "small", 40) as whole:
            changes = running.reload("")
            assert changes["small"]["change"] == "removed"
            refused = running.say("small")
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                404,
                "model_not_found",
            )
            assert "small" not in running.names()
            assert running.models()["small"]["state"] == "unloading"
            refused = running.http.post("/api/admin/models/small/load")
            assert refused.status_code == 404
            assert "[DONE]" in whole()
        eventually(lambda: "small" not in running.models(), what="small is gone")
        assert running.process.engines() == []
        assert "small" not in running.http.get("/metrics").text.partition("replica_state")[2]


def test_a_model_that_comes_back_waits_for_its_predecessor(tmp_path: Path) -> None:
    with configured(tmp_path, small(engine_args=SLOW)) as running:
        running.load("small")
        with streaming(running, "small", 40) as whole:
            running.reload("")
            changes = running.reload(small() + small("other"))
            assert {changes[key]["change"] for key in ("small", "other")} == {"added"}
            assert "predecessor" in changes["small"]["detail"]
            # nobody else waits for the one that is on its way out
            assert running.models()["small"]["in_flight"] == 1
            assert running.say("other", max_tokens=2).status_code == 200
            assert running.reload(small(), wait="true")["small"]["change"] == "added"
            assert "[DONE]" in whole()
        assert running.say("small", max_tokens=2).status_code == 200


def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    with configured(tmp_path, small()) as running:
        running.load("small")
        before = running.engine("small")
        running.file.write_text(small(max_queu=3) + table("x", kind="chat"))
        refused = running.http.post("/api/admin/models/reload")
        assert refused.status_code == 400
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "wrong_models_file")
        assert f"{running.file}:5: [small] max_queu: there is no such setting" in error["message"]
        assert f"{running.file}:6: [x] model: it is missing" in error["message"]
        assert running.engine("small") == before
        assert running.say("small", max_tokens=2).status_code == 200
        running.file.unlink()
        assert "cannot be read" in running.http.post("/api/admin/models/reload").text
        assert running.say("small", max_tokens=2).status_code == 200


def test_what_needs_an_engine_restart_says_so_and_waits_for_it(tmp_path: Path) -> None:
    with configured(tmp_path, small()) as running:
        running.load("small")
        before = running.engine("small")
        text = small(engine_args="--fake-tokens 3", aliases=["mini"], idle_unload_s=900, pin=True)
        change = running.reload(text)["small"]
        assert change["fields"] == ["aliases", "engine_args", "idle_unload_s", "pin"]
        assert change["waiting"] == ["aliases", "engine_args"]
        assert "aliases, engine_args need an engine restart" in change["detail"]
        assert running.engine("small") == before
        assert "mini" not in running.names()  # today's engine would not know the name
        assert running.models()["small"]["waiting"] == ["aliases", "engine_args"]

        again = running.reload(text)["small"]
        assert (again["change"], again["waiting"]) == ("unchanged", ["aliases", "engine_args"])
        change = running.reload(text, restart="true", wait="true")["small"]
        assert "drained and loaded again" in change["detail"]
        assert running.engine("small") != before
        assert running.models()["small"]["waiting"] == []
        assert running.say("mini", "a").json()["usage"]["completion_tokens"] == 3


def test_what_waits_is_in_force_after_the_next_load(tmp_path: Path) -> None:
    with configured(tmp_path, small()) as running:
        running.load("small")
        waiting = running.reload(small(replicas=2, aliases=["mini"]))["small"]["waiting"]
        assert waiting == ["aliases", "replicas"]
        running.http.post("/api/admin/models/small/unload", params={"wait": "true"})
        assert running.models()["small"]["waiting"] == []
        assert "mini" in running.names()
        running.load("small")
        assert len(running.models()["small"]["replicas"]) == 2


def test_a_model_that_does_not_run_takes_on_everything_at_once(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with configured(tmp_path, small()) as running:
        change = running.reload(small().replace(str(FAKE_MODEL), str(other)))["small"]
        assert (change["fields"], change["waiting"]) == (["model"], [])
        assert running.models()["small"]["source"] == str(other)
        running.load("small")
        assert str(other) in running.models()["small"]["replicas"][0]["argv"]


def test_a_configuration_that_failed_and_was_mended_may_be_tried_at_once(tmp_path: Path) -> None:
    with configured(tmp_path, small(engine_args="--fake-exit-at-start 3")) as running:
        assert running.say("small").status_code == 503
        assert running.models()["small"]["state"] == "failed"
        running.reload(small())
        answer = running.say("small", max_tokens=2)
        assert answer.status_code == 200, answer.text


def test_a_model_of_another_kind_takes_the_place_of_the_old(tmp_path: Path) -> None:
    with configured(tmp_path, small()) as running:
        running.load("small")
        text = small().replace('"chat"', '"embedding"')
        assert running.reload(text, wait="true")["small"]["change"] == "replaced"
        found = running.models()["small"]
        assert (found["kind"], found["state"]) == ("embedding", "idle")


def test_a_successor_that_is_configured_no_more_never_comes(tmp_path: Path) -> None:
    with configured(tmp_path, small(engine_args=SLOW)) as running:
        running.load("small")
        with streaming(running, "small", 40) as whole:
            running.reload(small().replace('"chat"', '"embedding"'))
            assert running.reload("", wait="true")["small"]["change"] == "removed"
            assert "[DONE]" in whole()
        assert "small" not in running.models()


def test_what_a_model_does_later_is_not_logged_under_the_id_of_the_reload(tmp_path: Path) -> None:
    with configured(tmp_path, "") as running:
        running.http.headers["x-request-id"] = "of-the-reload"
        running.http.get("/api/admin/status")
        running.reload(small())
        del running.http.headers["x-request-id"]
        running.load("small")
        asked = running.http.get("/api/admin/logs", params={"request_id": "of-the-reload"}).text
        assert "small: instantiated" in asked
        assert "small-0: ready" in running.process.output()
        assert "small-0" not in asked
        assert "dependency_inspector" not in asked


def test_a_hangup_reads_the_file_too(tmp_path: Path) -> None:
    with configured(tmp_path, "") as running:
        running.file.write_text("[small]\n")
        running.process.process.send_signal(signal.SIGHUP)
        eventually(lambda: f"{running.file}:1: [small] kind" in running.process.output())
        assert "small" not in running.models()
        running.file.write_text(small())
        running.process.process.send_signal(signal.SIGHUP)
        eventually(lambda: "small" in running.models())


def test_readers_of_events_see_models_come_and_go(tmp_path: Path) -> None:
    with (
        configured(tmp_path, "") as running,
        running.http.stream("GET", "/api/admin/events") as events,
    ):
        frames = events.iter_text()
        seen = next(frames)
        assert "event: snapshot" in seen
        running.reload(small())
        while '"key":"small"' not in seen:
            seen += next(frames)
        assert '"action":"instantiated"' in seen
        running.reload("")
        while "event: removed" not in seen:
            seen += next(frames)
        assert 'data: {"key":"small"}' in seen


def test_all_models_are_loaded_where_that_is_asked_for(tmp_path: Path) -> None:
    other_two = {"CANARY_PYTHON": "/bin/false", "PYANNOTE_PYTHON": "/bin/false"}
    with configured(tmp_path, "", LAZY_LOAD_MODELS="false", **other_two) as running:
        assert running.reload(small())["small"]["detail"] == "it loads now"
        eventually(lambda: running.models()["small"]["state"] == "ready")


def test_a_wrong_file_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"models\.toml:1: \[small\] kind: it is missing"),
        configured(tmp_path, "[small]\n"),
    ):
        pass


def test_a_response_is_found_by_its_id_among_several_models(tmp_path: Path) -> None:
    keep = "--fake-keep-responses"
    text = small("one", engine_args=keep) + small("two", engine_args=keep)
    with configured(tmp_path, text, QWEN_ENGINE_ARGS=keep) as running:
        url = running.process.url + "/v1"
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as sdk:
            made = {}
            for key in ("one", "qwen", "two"):
                whole = sdk.responses.create(model=key, input=f"hello from {key}")
                made[whole.id] = whole.output_text
                stream = sdk.responses.create(model=key, input=f"bye from {key}", stream=True)
                last = [event.response for event in stream if event.type == "response.completed"]
                made[last[0].id] = last[0].output_text
            assert len(made) == 6
            for response_id, text in made.items():
                assert sdk.responses.retrieve(response_id).output_text == text
            with pytest.raises(openai.NotFoundError):
                sdk.responses.retrieve("resp_nobody")
