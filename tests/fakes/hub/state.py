"""What a test told the fake Hub to be like, and what the fake Hub saw."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Account:
    """Whom a token belongs to."""

    name: str
    repos: list[str] = field(default_factory=list)
    """Gated and private ones that it may read."""
    reads_gated: bool | None = None
    """None: an ordinary token; else a fine-grained one, with or without that scope."""


@dataclass(eq=False)
class Fault:
    """Misbehaviour of every request whose path contains `match`, `times` times (0: always)."""

    match: str
    do: str
    """status, silence, stall (these two until lifted), cut, corrupt, slow, ignore-range,
    wrong-range"""
    method: str = "GET"
    times: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    after: int = 0
    """Bytes of the file (counted from its first) after which it stalls or is cut."""
    rate: float = 0
    """Bytes a second, when slow."""
    used: int = 0


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    range: str
    authorization: str
    status: int
    sent: int = 0
    """Bytes of the body that were handed to the kernel."""


class State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.accounts: dict[str, Account] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.bare_listing = False
        """Lists names only, as some mirrors do."""
        self.rename: dict[str, str] = {}
        """Listed names by real ones: what a hostile Hub may say."""

    def update(self, change: dict[str, Any]) -> None:
        with self.lock:
            for name, value in change.items():
                if name == "faults":
                    self.faults = [Fault(**fault) for fault in value]
                elif name == "accounts":
                    self.accounts = {token: Account(**who) for token, who in value.items()}
                elif name in ("gated", "private"):
                    setattr(self, name, set(value))
                elif name == "forget":
                    self.seen.clear()
                else:
                    setattr(self, name, value)

    def fault(self, method: str, path: str, *kinds: str) -> Fault | None:
        """The first fault of these kinds that applies now; it counts as used."""
        with self.lock:
            for fault in self.faults:
                spent = fault.times and fault.used >= fault.times
                fits = fault.match in path and fault.method == method and fault.do in kinds
                if fits and not spent:
                    fault.used += 1
                    return fault
        return None

    def record(self, seen: Seen) -> Seen:
        with self.lock:
            self.seen.append(seen)
        return seen

    def report(self) -> list[dict[str, Any]]:
        with self.lock:
            return [asdict(seen) for seen in self.seen]
