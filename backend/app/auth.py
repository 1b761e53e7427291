"""Who may do what, decided from path and headers alone, before a body is read.

    right      routes                                                   opened by
    public     /healthz, /readyz, /docs, /openapi.json, the dashboard   everyone
    inference  /v1, /tokenize, /detokenize, /api/audio,                 OPENAI_API_KEYS (none set:
               /api/diarization                                         everyone), or an admin key
    admin      /metrics and all the rest of /api                        see AdminRule

A route that is added under /api and forgotten here is closed, not open.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.app.config import ConfigError, Settings
from backend.app.errors import Forbidden, InvalidRequest, Unauthorized

log = logging.getLogger(__name__)

RawHeaders = Sequence[tuple[bytes, bytes]]

_INFERENCE = ("/v1", "/tokenize", "/detokenize", "/api/audio", "/api/diarization")
_BELOW_INFERENCE = tuple(f"{path}/" for path in _INFERENCE)
_ADMIN = ("/api", "/metrics")
_BELOW_ADMIN = tuple(f"{path}/" for path in _ADMIN)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")


class Right(enum.Enum):
    PUBLIC = "public"
    INFERENCE = "inference"
    ADMIN = "admin"


class AdminRule(enum.Enum):
    """How the admin routes are guarded; `admin_rule` says which holds."""

    KEYS = "keys"
    """One of ADMIN_API_KEYS."""
    GENERATED = "generated"
    """The key that the gateway made itself, because a network can reach it and no key was set."""
    LOCAL = "local"
    """Nobody but this machine can reach us: open, but not to web pages of other sites."""
    OFF = "off"
    """ADMIN_AUTH=off: open."""


@dataclass(frozen=True)
class Caller:
    """Who asks: `label` is the key's name, or the beginning of its digest."""

    label: str
    admin: bool


ANONYMOUS = Caller("anonymous", admin=False)
_OPERATOR = Caller("anonymous", admin=True)


def admin_rule(settings: Settings) -> AdminRule:
    if settings.admin_auth == "off":
        return AdminRule.OFF
    if settings.admin_api_keys:
        return AdminRule.KEYS
    return AdminRule.LOCAL if settings.loopback else AdminRule.GENERATED


class KeyRing:
    """Keys by digest. An entry is `key` or `name:key`. Raises ConfigError for one without a key."""

    def __init__(self, variable: str, entries: Iterable[SecretStr]) -> None:
        self._labels: dict[bytes, str] = {}
        for entry in entries:
            name, colon, key = entry.get_secret_value().partition(":")
            key = (key if colon else name).strip()
            if not key:
                raise ConfigError(f"{variable}: an entry has a name but no key; write name:key.")
            digest = hashlib.sha256(key.encode()).digest()
            self._labels[digest] = (name.strip() if colon else "") or f"key-{digest.hex()[:8]}"

    def __bool__(self) -> bool:
        return bool(self._labels)

    def find(self, digest: bytes) -> str | None:
        """The label of a key. Every key is compared, so that time tells nothing."""
        found = None
        for known, label in self._labels.items():
            if hmac.compare_digest(known, digest):
                found = label
        return found


@dataclass(frozen=True)
class Policy:
    """The access rule of one gateway."""

    inference: KeyRing
    admin: KeyRing
    rule: AdminRule
    origins: frozenset[str] = frozenset()
    """Of web pages that the operator trusts by name in CORS_ORIGINS."""

    @classmethod
    def build(cls, settings: Settings, generated: SecretStr | None = None) -> Policy:
        """`generated` is needed when `admin_rule` says GENERATED. Raises ConfigError."""
        rule = admin_rule(settings)
        admin = settings.admin_api_keys
        if rule is AdminRule.GENERATED:
            if generated is None:
                raise ConfigError("Set ADMIN_API_KEYS: no admin key could be made.")
            admin = (SecretStr(f"generated:{generated.get_secret_value()}"),)
        if rule is AdminRule.OFF:
            log.warning(
                "ADMIN_AUTH=off: EVERYONE who can reach %s:%d may load, unload and delete models "
                "and see all requests.",
                settings.api_host,
                settings.api_port,
            )
        return cls(
            KeyRing("OPENAI_API_KEYS", settings.openai_api_keys),
            KeyRing("ADMIN_API_KEYS", admin),
            rule,
            frozenset(settings.cors_origins) - {"*"},
        )

    def identify(self, headers: RawHeaders) -> Caller | None:
        """Whose key was sent, in `Authorization: Bearer` or `x-api-key`; an admin's counts more."""
        best = None
        for key in _keys_sent(headers):
            digest = hashlib.sha256(key).digest()
            admin, inference = self.admin.find(digest), self.inference.find(digest)
            if admin is not None:
                best = Caller(admin, admin=True)
            elif inference is not None and best is None:
                best = Caller(inference, admin=False)
        return best


def right_of(path: str) -> Right:
    """What a path wants. Paths are compared as they are routed: decoded, and not normalised."""
    if path.startswith(_BELOW_INFERENCE) or path in _INFERENCE:
        return Right.INFERENCE
    if path.startswith(_BELOW_ADMIN) or path in _ADMIN:
        return Right.ADMIN
    return Right.PUBLIC


def decide(policy: Policy, path: str, headers: RawHeaders) -> Caller:
    """Who the caller is, if they may ask for `path`. Raises Unauthorized or Forbidden."""
    if not path.isprintable():
        # A router's `$` also matches before a final newline: /metrics%0A would reach /metrics.
        raise InvalidRequest("The path holds characters that no route has.", code="invalid_path")
    right = right_of(path)
    if right is Right.PUBLIC:
        return ANONYMOUS
    if right is Right.ADMIN and policy.rule is AdminRule.LOCAL:
        _refuse_other_sites(headers, policy.origins)
    caller = policy.identify(headers)
    if right is Right.INFERENCE:
        if caller is not None or not policy.inference:
            return caller or ANONYMOUS
        raise Unauthorized(_complaint(headers, "an inference key, one of OPENAI_API_KEYS"))
    if policy.rule in (AdminRule.LOCAL, AdminRule.OFF):
        return Caller(caller.label, admin=True) if caller else _OPERATOR
    if caller is None:
        raise Unauthorized(
            _complaint(headers, f"an admin key, {_WHERE[policy.rule]}"), code="admin_key_required"
        )
    if not caller.admin:
        raise Forbidden(
            f"The key '{caller.label}' is an inference key. This route wants an admin key, "
            f"{_WHERE[policy.rule]}.",
            code="admin_key_required",
        )
    return caller


_WHERE = {
    AdminRule.KEYS: "one of ADMIN_API_KEYS",
    AdminRule.GENERATED: "shown by the gateway's own command `admin-key` on its machine",
}


def _complaint(headers: RawHeaders, wanted: str) -> str:
    what = "The API key is not known." if _keys_sent(headers) else "No API key was sent."
    return f"{what} This route wants {wanted}, as `Authorization: Bearer KEY` or `x-api-key: KEY`."


def _keys_sent(headers: RawHeaders) -> list[bytes]:
    keys = []
    for name, value in headers:
        if name == b"x-api-key":
            keys.append(value.strip())
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            keys.append(value[7:].strip())
    return [key for key in keys[:4] if key]  # nobody sends more, unless to make us hash


def _refuse_other_sites(headers: RawHeaders, trusted: frozenset[str]) -> None:
    """A page of another site must not steer us through its visitor's browser.

    The Host gives away a name that was rebound to this machine, Origin and Sec-Fetch-Site a page
    from elsewhere.
    """
    sent = {name: value.decode("latin-1") for name, value in headers}
    host = _HOST.fullmatch(sent.get(b"host", ""))
    if host is None or not _is_loopback(host[1]):
        raise Forbidden(
            "Without ADMIN_API_KEYS the admin routes answer only to localhost, 127.0.0.1 and "
            "[::1]. Use one of these names, or set ADMIN_API_KEYS.",
            code="foreign_host",
        )
    origin = sent.get(b"origin")
    if origin in trusted:
        return
    foreign = origin is not None and not _is_loopback_origin(origin)
    if foreign or sent.get(b"sec-fetch-site") == "cross-site":
        raise Forbidden(
            "Without ADMIN_API_KEYS the admin routes do not answer to pages of other sites. "
            "Set ADMIN_API_KEYS, or name the site in CORS_ORIGINS.",
            code="cross_site",
        )


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost" or host == "[::1]":
        return True
    try:
        return IPv4Address(host).is_loopback
    except AddressValueError:
        return False


def _is_loopback_origin(origin: str) -> bool:
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    host = _HOST.fullmatch(netloc)
    return host is not None and _is_loopback(host[1])


class AccessMiddleware:
    """Puts `Caller` into `scope["state"]["caller"]` or raises before the body is read."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self.app = app
        self.policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller = decide(self.policy, _routed_path(scope), scope["headers"])
            scope.setdefault("state", {})["caller"] = caller
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # no route of ours speaks it
            return
        await self.app(scope, receive, send)


def caller_of(scope: Scope) -> Caller:
    """Who asks, for a request that `AccessMiddleware` has let through."""
    caller: Caller = scope["state"]["caller"]
    return caller


def _routed_path(scope: Scope) -> str:
    """The path as the router will see it: behind a prefix that the server was told to strip."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root + "/") else path
