"""The admin key that the gateway makes for itself when nobody set one.

Kept in `MODEL_CACHE_DIR/.admin_key`, readable by the gateway's user alone. It is shown once, on
stderr, when it is made, and never logged; later only the file is named.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr

from backend.app import COMMAND
from backend.app.config import ConfigError

FILE_NAME = ".admin_key"
_MIN_LENGTH = 16
_REMEDY = "Make it readable and writable for the gateway's user, or set ADMIN_API_KEYS."


@dataclass(frozen=True)
class GeneratedKey:
    key: SecretStr
    path: Path
    created: bool
    """True when it was made just now, so that nobody can know it yet."""

    def notice(self, base_url: str) -> str:
        """What the command line prints on stderr: key and link once, later where to find them."""
        if not self.created:
            return (
                f"The dashboard asks for the admin key in {self.path} "
                f"(`{COMMAND} admin-key` shows it)."
            )
        return (
            "No ADMIN_API_KEYS are set: an admin key was made for the dashboard and /api/admin.\n"
            f"  open  {link(base_url, self.key)}\n"
            f"  kept  {self.path} (`{COMMAND} admin-key` shows it again)"
        )


def link(base_url: str, key: SecretStr) -> str:
    """A link that opens the dashboard with the key: a browser does not send a fragment."""
    return f"{base_url}/#key={quote(key.get_secret_value(), safe='')}"


def base_url(host: str, port: int, *, tls: bool) -> str:
    """Where a browser on this machine finds us. A wildcard address is not one to go to."""
    shown = "localhost" if host in {"", "0.0.0.0", "::"} else host
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


class AdminKeyStore:
    """The key's file in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    def read(self) -> str | None:
        """The key, or None when there is none yet. Raises ConfigError for a file without sense."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ConfigError(f"The admin key {self.path}: {exc.strerror}. {_REMEDY}") from None
        with open(descriptor, encoding="ascii", errors="replace") as file:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                with contextlib.suppress(PermissionError):  # not ours: then its owner sees to it
                    os.fchmod(descriptor, 0o600)
            text = file.read(4096).strip()
        if len(text) < _MIN_LENGTH or not text.isascii() or not text.isprintable():
            raise ConfigError(
                f"The admin key in {self.path} is damaged or shorter than {_MIN_LENGTH} "
                "characters. Delete the file and a new one is made."
            )
        return text

    def ensure(self) -> GeneratedKey:
        """The key, made when there is none. Raises ConfigError when it cannot be kept."""
        key = self.read()
        if key is not None:
            return GeneratedKey(SecretStr(key), self.path, created=False)
        made = secrets.token_urlsafe(32)
        try:
            if self._write(made):
                return GeneratedKey(SecretStr(made), self.path, created=True)
        except OSError as exc:
            raise ConfigError(f"The admin key {self.path}: {exc.strerror}. {_REMEDY}") from None
        return self.ensure()  # another gateway on the same cache was quicker

    def _write(self, text: str) -> bool:
        """All or nothing, and never over another's key. False when there is one by now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{FILE_NAME}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(descriptor)
            try:
                os.link(draft, self.path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                os.replace(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)
        return True
