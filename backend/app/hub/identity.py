"""What the Hub knows about a token: whose it is, and which gated repositories it opens."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp

from backend.app.workers.hub_protocol import GATED_SCOPE

log = logging.getLogger(__name__)

DEFAULT_ENDPOINT = "https://huggingface.co"
ANSWER_S = 5.0
"""How long the Hub may take; whoever asks waits for it."""
KNOWN_S = 300.0
"""How long an answer holds: the Hub limits how often it may be asked."""
UNKNOWN_S = 30.0
"""How long the lack of one does."""


@dataclass(frozen=True)
class Identity:
    valid: bool | None
    """None: the Hub did not answer, or there is no token."""
    name: str | None = None
    missing_scopes: tuple[str, ...] = ()
    """What a fine-grained token would have to allow for gated repositories."""


@dataclass(frozen=True)
class Gate:
    """A gated repository, and the page where its licence is accepted."""

    repo: str
    url: str
    accessible: bool | None
    """With this token; None when the Hub did not say."""


class HubIdentity:
    def __init__(self, endpoint: str | None, *, answer_s: float = ANSWER_S) -> None:
        self.endpoint = (endpoint or DEFAULT_ENDPOINT).rstrip("/")
        self._answer_s = answer_s
        self._known: dict[tuple[str, ...], tuple[float, Any]] = {}

    @property
    def shown(self) -> str:
        """The endpoint without user and password."""
        parts = urlsplit(self.endpoint)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def forget(self) -> None:
        """Ask again next time."""
        self._known.clear()

    async def answers(self) -> bool:
        """Whether it can be reached at all, whatever it says."""
        async with self._session(None) as session:
            status, _ = await self._get(session, "/api/whoami-v2")
        return status != 0

    async def whoami(self, token: str | None) -> Identity:
        if token is None:
            return Identity(None)
        key = ("whoami", _digest(token))
        known: Identity | None = self._recall(key)
        if known is not None:
            return known
        async with self._session(token) as session:
            status, body = await self._get(session, "/api/whoami-v2")
        found = Identity(None)
        if status == 401:
            found = Identity(False)
        elif status == 200 and isinstance(body, Mapping):
            found = Identity(True, str(body.get("name")), _missing(body))
        self._keep(key, found, sure=found.valid is not None)
        return found

    async def gates(self, repos: Iterable[str], token: str | None) -> list[Gate]:
        """Those of `repos` that are gated, as far as the Hub says so."""
        async with self._session(token) as session:
            found = await asyncio.gather(*(self._gate(session, repo, token) for repo in repos))
        return [gate for gate in found if gate is not None]

    async def _gate(
        self, session: aiohttp.ClientSession, repo: str, token: str | None
    ) -> Gate | None:
        key = ("gate", repo, _digest(token or ""))
        if key in self._known and self._known[key][0] > time.monotonic():
            known: Gate | None = self._known[key][1]
            return known
        path = f"/api/models/{quote(repo)}"
        (status, body), (check, _) = await asyncio.gather(
            self._get(session, path), self._get(session, f"{path}/auth-check")
        )
        gated = isinstance(body, Mapping) and bool(body.get("gated"))
        accessible = {200: True, 401: False, 403: False}.get(check)
        gate = Gate(repo, f"{self.shown}/{repo}", accessible) if gated else None
        self._keep(key, gate, sure=status != 0 and check != 0)
        return gate

    def _session(self, token: str | None) -> aiohttp.ClientSession:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        timeout = aiohttp.ClientTimeout(total=self._answer_s)
        return aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=True)

    async def _get(self, session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
        """(status, body); the status is 0 when no answer came."""
        try:
            async with session.get(self.endpoint + path, allow_redirects=False) as answer:
                body = await answer.json(content_type=None) if answer.status == 200 else None
                return answer.status, body
        except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError) as exc:
            log.info("%s%s: no answer (%s)", self.shown, path, type(exc).__name__)
            return 0, None

    def _recall(self, key: tuple[str, ...]) -> Any:
        until, value = self._known.get(key, (0.0, None))
        return value if until > time.monotonic() else None

    def _keep(self, key: tuple[str, ...], value: Any, *, sure: bool) -> None:
        self._known[key] = (time.monotonic() + (KNOWN_S if sure else UNKNOWN_S), value)


def _missing(body: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        fine = body["auth"]["accessToken"]["fineGrained"]
        return (GATED_SCOPE,) if fine["canReadGatedRepos"] is False else ()
    except (KeyError, TypeError):
        return ()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
