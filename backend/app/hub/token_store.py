"""The Hugging Face token: from the environment or from an operator, whichever was set last.

Kept in `MODEL_CACHE_DIR/.hf_token` (0600), as nothing but the token. Beside it, in `.hf_token.env`,
lies a digest of what the environment said at that time: the variable wins again once it has
changed, and not merely because the gateway was started again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backend.app.errors import InvalidRequest, Unavailable
from backend.app.workers.hub_layout import write_atomically

log = logging.getLogger(__name__)

FILE_NAME = ".hf_token"
DIGEST_NAME = ".hf_token.env"
MAX_LENGTH = 1024
_LOOKS_RIGHT = re.compile(r"[!-~]+")


@dataclass(frozen=True, repr=False)
class Token:
    value: str | None
    source: str
    """environment, stored, or none."""


class TokenStore:
    """Reads its file each time, so that what another process set holds here too."""

    def __init__(
        self,
        directory: Path,
        environment: str | None,
        on_secret: Callable[[str], None] = lambda secret: None,
        *,
        read_only: bool = False,
    ) -> None:
        """`environment` is HUGGINGFACE_TOKEN; `on_secret` is told each token, to keep it out of
        logs. A directory that cannot be written costs a warning here, not the start.
        `read_only`: `get` says what a gateway that starts now would have, and nothing is kept.
        """
        self.path = directory / FILE_NAME
        self._digest_path = directory / DIGEST_NAME
        self._environment = _clean(environment)
        self._on_secret = on_secret
        if self._environment:
            on_secret(self._environment)
        self._in_memory: str | None = None
        """The environment's token, where it could not be kept."""
        try:
            if not read_only:
                self._adopt()
            elif self._environment and self._last_digest() != _digest(self._environment):
                self._in_memory = self._environment
        except OSError as exc:
            self._in_memory = self._environment
            log.warning("the Hugging Face token cannot be kept in %s: %s", self.path, exc.strerror)

    def get(self) -> Token:
        value = self._in_memory or self._read()
        if value is None:
            return Token(None, "none")
        self._on_secret(value)
        return Token(value, "environment" if value == self._environment else "stored")

    def set(self, token: str | None) -> None:
        """Keep another token; None clears it. It holds until the variable changes.

        Raises InvalidRequest for what cannot be a token, Unavailable when it cannot be written.
        """
        token = _clean(token)
        if token is not None:
            if len(token) > MAX_LENGTH or not _LOOKS_RIGHT.fullmatch(token):
                raise InvalidRequest(
                    "This cannot be a Hugging Face token: they look like hf_ and letters.",
                    param="token",
                    code="invalid_token",
                )
            self._on_secret(token)
        try:
            self._keep(token)
            self._in_memory = None
        except OSError as exc:
            raise Unavailable(
                f"The token cannot be kept in {self.path}: {exc.strerror}. Give the gateway's user"
                " the right to write there.",
                code="token_not_kept",
            ) from None

    def _adopt(self) -> None:
        """The variable wins when it is not what it was at the last decision."""
        if self._environment is None:
            if self._digest_path.exists():
                self._digest_path.unlink()  # so that setting it again counts
        elif self._last_digest() != _digest(self._environment):
            self._keep(self._environment)

    def _keep(self, token: str | None) -> None:
        if token is None:
            self.path.unlink(missing_ok=True)
        else:
            write_atomically(self.path, token.encode(), 0o600)
        if self._environment:
            write_atomically(self._digest_path, _digest(self._environment).encode(), 0o600)

    def _read(self) -> str | None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as exc:
            log.warning("the Hugging Face token in %s cannot be read: %s", self.path, exc.strerror)
            return None
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                with contextlib.suppress(PermissionError):  # not ours: then its owner sees to it
                    os.fchmod(descriptor, 0o600)
            return _clean(file.read(MAX_LENGTH + 1))

    def _last_digest(self) -> str | None:
        try:
            return self._digest_path.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return None


def _clean(token: str | None) -> str | None:
    return (token or "").strip() or None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
