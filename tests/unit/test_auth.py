from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from backend.app.auth import (
    AdminRule,
    Caller,
    KeyRing,
    Policy,
    Right,
    admin_rule,
    decide,
    right_of,
)
from backend.app.config import ConfigError, Settings
from backend.app.errors import Forbidden, GatewayError, Unauthorized

INFERENCE, ADMIN, GENERATED = "sk-inference", "sk-admin", "generated-admin-key"


DEFAULTS: dict[str, Any] = {
    "api_host": "0.0.0.0",
    "admin_auth": "auto",
    "openai_api_keys": (),
    "admin_api_keys": (),
    "cors_origins": (),
}


def settings(**values: Any) -> Settings:
    """Whatever the environment says, only `values` differ from the defaults."""
    return Settings(**{**DEFAULTS, **values})


def policy(**values: Any) -> Policy:
    made = settings(**values)
    generated = SecretStr(GENERATED) if admin_rule(made) is AdminRule.GENERATED else None
    return Policy.build(made, generated)


def bearer(key: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + key.encode())


def x_api_key(key: str) -> tuple[bytes, bytes]:
    return (b"x-api-key", key.encode())


LOCALHOST = (b"host", b"localhost:8000")
BOTH = {"openai_api_keys": (f"alice:{INFERENCE}",), "admin_api_keys": (f"root:{ADMIN}",)}


@pytest.mark.parametrize(
    ("right", "paths"),
    [
        (
            Right.INFERENCE,
            "/v1 /v1/ /v1/models /v1/models/a/b /v1/unknown /v1/messages /tokenize /detokenize "
            "/tokenize/x /api/audio/transcribe /api/diarization/process /v1/../api/admin/status",
        ),
        (
            Right.ADMIN,
            "/api /api/ /api/admin /api/admin/status /api/new /api/audiobooks /metrics /metrics/ "
            "/metrics/qwen /api//admin/status",
        ),
        (
            Right.PUBLIC,
            "/ /healthz /readyz /docs /docs/swagger-ui.css /openapi.json /assets/index.js "
            "/favicon.ico /v1beta /metricsx /apis //v1/models //api/admin/status /V1/models",
        ),
    ],
)
def test_every_path_wants_its_right(right: Right, paths: str) -> None:
    assert {path: right_of(path) for path in paths.split()} == dict.fromkeys(paths.split(), right)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"admin_auth": "off", "admin_api_keys": (ADMIN,)}, AdminRule.OFF),
        ({"admin_api_keys": (ADMIN,)}, AdminRule.KEYS),
        ({"admin_api_keys": (ADMIN,), "api_host": "127.0.0.1"}, AdminRule.KEYS),
        ({}, AdminRule.GENERATED),
        ({"api_host": "10.1.2.3"}, AdminRule.GENERATED),
        ({"api_host": "::"}, AdminRule.GENERATED),
        ({"api_host": "127.0.0.1"}, AdminRule.LOCAL),
        ({"api_host": "::1"}, AdminRule.LOCAL),
        ({"api_host": "localhost", "openai_api_keys": (INFERENCE,)}, AdminRule.LOCAL),
    ],
)
def test_which_rule_guards_the_admin_routes(values: dict[str, Any], rule: AdminRule) -> None:
    assert admin_rule(settings(**values)) is rule


def test_admin_routes_are_never_open_to_a_network_for_want_of_a_key() -> None:
    with pytest.raises(ConfigError, match="ADMIN_API_KEYS"):
        Policy.build(settings(api_host="0.0.0.0"), None)


@pytest.mark.parametrize("send", [bearer, x_api_key])
def test_keys_open_what_they_should(send: Any) -> None:
    rule = policy(**BOTH)
    assert decide(rule, "/v1/models", [send(INFERENCE)]) == Caller("alice", admin=False)
    assert decide(rule, "/v1/models", [send(ADMIN)]) == Caller("root", admin=True)
    assert decide(rule, "/api/admin/status", [send(ADMIN)]) == Caller("root", admin=True)
    with pytest.raises(Forbidden, match=r"'alice' is an inference key.*ADMIN_API_KEYS"):
        decide(rule, "/api/admin/status", [send(INFERENCE)])
    for path in ("/v1/models", "/api/admin/status"):
        for key in ("sk-wrong", "", INFERENCE + " x", INFERENCE[:-1], f"alice:{INFERENCE}"):
            with pytest.raises(Unauthorized):
                decide(rule, path, [send(key)])


def test_a_refusal_names_the_key_that_is_wanted() -> None:
    rule = policy(**BOTH)
    with pytest.raises(Unauthorized, match=r"No API key was sent.*inference key.*OPENAI_API_KEYS"):
        decide(rule, "/v1/models", [])
    with pytest.raises(Unauthorized, match=r"not known.*inference key.*OPENAI_API_KEYS"):
        decide(rule, "/v1/models", [bearer("x")])
    with pytest.raises(Unauthorized, match=r"No API key was sent.*admin key.*ADMIN_API_KEYS"):
        decide(rule, "/api/admin/status", [])
    with pytest.raises(Unauthorized, match=r"admin key, shown by .*admin-key"):
        decide(policy(), "/metrics", [])


def test_both_kinds_of_header_may_be_sent_and_the_better_key_counts() -> None:
    rule = policy(**BOTH)
    both = [x_api_key("placeholder"), bearer(ADMIN)]
    valid = [bearer(INFERENCE), x_api_key(ADMIN)]
    for headers in (both, both[::-1], valid, valid[::-1]):
        assert decide(rule, "/api/admin/status", headers).label == "root"
    assert decide(rule, "/v1/models", [bearer("x"), x_api_key(INFERENCE)]).label == "alice"


@pytest.mark.parametrize(
    "value", [b"bearer sk-inference", b"BEARER  sk-inference ", b"Bearer sk-inference"]
)
def test_the_scheme_is_written_as_one_likes(value: bytes) -> None:
    assert decide(policy(**BOTH), "/v1/models", [(b"authorization", value)]).label == "alice"


@pytest.mark.parametrize(
    "value", [b"sk-inference", b"Basic sk-inference", b"Bearer", b"Bearer ", b"Token sk-inference"]
)
def test_other_schemes_are_no_key(value: bytes) -> None:
    with pytest.raises(Unauthorized, match="No API key was sent"):
        decide(policy(**BOTH), "/v1/models", [(b"authorization", value)])


def test_without_inference_keys_v1_is_open_to_everyone() -> None:
    rule = policy(admin_api_keys=(f"root:{ADMIN}",))
    assert decide(rule, "/v1/models", []) == Caller("anonymous", admin=False)
    assert decide(rule, "/v1/models", [bearer("anything")]) == Caller("anonymous", admin=False)
    assert decide(rule, "/v1/models", [bearer(ADMIN)]) == Caller("root", admin=True)
    with pytest.raises(Unauthorized):
        decide(rule, "/api/admin/status", [bearer("anything")])


def test_a_generated_key_opens_everything() -> None:
    rule = policy(openai_api_keys=(INFERENCE,))
    for path in ("/v1/models", "/metrics", "/api/admin/status"):
        assert decide(rule, path, [bearer(GENERATED)]) == Caller("generated", admin=True)
        with pytest.raises(GatewayError):
            decide(rule, path, [bearer("x")])


def test_admin_auth_off_opens_with_a_loud_warning(caplog: pytest.LogCaptureFixture) -> None:
    rule = policy(admin_auth="off", openai_api_keys=(f"alice:{INFERENCE}",))
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "WARNING"
    assert "EVERYONE" in caplog.text
    assert decide(rule, "/api/admin/status", [(b"host", b"evil.example")]).admin
    assert decide(rule, "/metrics", [bearer(INFERENCE)]) == Caller("alice", admin=True)
    with pytest.raises(Unauthorized):
        decide(rule, "/v1/models", [])


LOCAL = {"api_host": "127.0.0.1", "cors_origins": ("https://trusted.example", "*")}


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:8"],
)
def test_on_loopback_without_keys_admin_is_open_to_this_machine(host: str) -> None:
    caller = decide(policy(**LOCAL), "/api/admin/status", [(b"host", host.encode())])
    assert caller == Caller("anonymous", admin=True)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.evil.example", "127.0.0.1.evil.example"),
        *("localhost.evil.example", "localhost@evil.example", "192.168.1.5", "[::2]", "[::1"),
        *("", ":8000", "localhost:x", "localhost:80:80", "0.0.0.0", "127.1", "locálhost"),
    ],
)
def test_a_foreign_host_is_refused(host: str) -> None:
    with pytest.raises(Forbidden, match="localhost") as caught:
        decide(policy(**LOCAL), "/metrics", [(b"host", host.encode())])
    assert caught.value.code == "foreign_host"
    with pytest.raises(Forbidden):
        decide(policy(**LOCAL), "/metrics", [])


@pytest.mark.parametrize(
    ("origin", "site", "allowed"),
    [
        (None, None, True),
        ("http://localhost:5173", "same-site", True),
        ("http://127.0.0.1:8000", "same-origin", True),
        ("http://[::1]:8000", None, True),
        (None, "none", True),
        ("https://trusted.example", "cross-site", True),
        ("https://evil.example", None, False),
        ("https://evil.example", "cross-site", False),
        (None, "cross-site", False),
        ("null", None, False),
        ("*", None, False),
        ("", None, False),
        ("http://localhost.evil.example", None, False),
        ("http://127.0.0.1.evil.example", None, False),
        ("http://[::1", None, False),
        ("http://localhost:5173", "cross-site", False),
    ],
)
def test_a_page_of_another_site_is_refused(
    origin: str | None, site: str | None, allowed: bool
) -> None:
    headers = [LOCALHOST]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if site is not None:
        headers.append((b"sec-fetch-site", site.encode()))
    rule = policy(**LOCAL)
    if allowed:
        assert decide(rule, "/api/admin/status", headers).admin
    else:
        with pytest.raises(Forbidden) as caught:
            decide(rule, "/api/admin/status", headers)
        assert caught.value.code == "cross_site"
    assert decide(rule, "/v1/models", headers)


def test_a_key_ring_knows_names_digests_and_bad_entries() -> None:
    rule = policy(openai_api_keys=("alice:one", ":two", "three", "bob:with:colon"))
    labels = [
        decide(rule, "/v1/models", [bearer(key)]).label
        for key in ("one", "two", "three", "with:colon")
    ]
    assert labels == ["alice", "key-3fc4ccfe", "key-8b5b9db0", "bob"]
    for entry in ("alice:", "alice: ", ":"):
        with pytest.raises(ConfigError, match="OPENAI_API_KEYS"):
            KeyRing("OPENAI_API_KEYS", [SecretStr(entry)])


def test_every_key_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(known: bytes, sent: bytes) -> bool:
        compared.append(known)
        return known == sent

    monkeypatch.setattr("backend.app.auth.hmac.compare_digest", compare)
    rule = policy(openai_api_keys=("a", "b", "c"), admin_api_keys=("d",))
    for key in ("a", "c", "d", "unknown"):
        compared.clear()
        rule.identify([bearer(key)])
        assert len(compared) == 4
