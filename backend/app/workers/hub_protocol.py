"""What the gateway and the download child say to each other.

The child is given one `Job` as JSON on its standard input: the token travels nowhere else, neither
on a command line nor in an environment. It answers with one JSON object a line: any number of
`Transfer`, at most four a second but one at least every `HEARTBEAT_S`, then one `Done` or `Failed`.
"""

from __future__ import annotations

import msgspec

from backend.app.workers.hub_layout import Want

HEARTBEAT_S = 2.0
GIB = 1 << 30
GATED_SCOPE = "Read access to contents of all public gated repos you can access"
"""What a fine-grained token must allow, in the words of the Hub's settings page."""


class Limits(msgspec.Struct, frozen=True):
    """Deadlines in seconds, and what else bounds a download."""

    connect_s: float = 10
    stall_s: float = 30
    """A connection that brings no byte for so long is given up and opened again."""
    attempts: int = 6
    """So many in a row without a byte, and the download has failed."""
    list_attempts: int = 3
    """The same for the list of files, with which each download begins."""
    backoff_s: float = 1
    """The pause before the second attempt; it doubles."""
    longest_pause_s: float = 300
    """A Hub that asks for more patience (Retry-After) than this is given up."""
    reserve_bytes: int = GIB
    """Disk space that is left free."""
    connections: int = 8
    """Files downloaded at the same time."""
    lock_poll_s: float = 0.5


class Job(msgspec.Struct, frozen=True):
    cache_dir: str
    wants: tuple[Want, ...]
    token: str | None = None
    endpoint: str | None = None
    xet: bool = False
    limits: Limits = Limits()

    def __repr__(self) -> str:
        return f"Job({self.wants})"


class Transfer(msgspec.Struct, frozen=True, tag_field="type", tag="transfer"):
    """Where it stands: `done` bytes on disk while it downloads, bytes read while it verifies."""

    action: str
    """listing, downloading, verifying, or waiting."""
    done: int = 0
    total: int = 0
    file: str = ""
    file_done: int = 0
    file_total: int = 0
    rate: float | None = None
    """Bytes a second, over the last few seconds."""
    eta: float | None = None
    """Seconds."""
    note: str = ""
    """Why it waits or tries again."""


class Done(msgspec.Struct, frozen=True, tag_field="type", tag="done"):
    commits: dict[str, str]
    """Repository to commit."""
    fetched: int = 0
    """Bytes that came over the network."""
    repaired: tuple[str, ...] = ()
    """Files that were found damaged and fetched again."""
    note: str = ""


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    code: str
    message: str
    url: str | None = None
    """Where it can be put right: the licence page of a gated repository."""


Message = Transfer | Done | Failed
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(line)


def size_of(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
