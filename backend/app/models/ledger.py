"""What each replica was granted of each GPU and what it has taken of it. No I/O.

A grant counts in full as long as its replica lives. What the replica has really taken is asked of
the driver where its process numbers are ours (on a bare machine). In containers they are mostly
not: then those that share a GPU count together, as what was in use before the first of them and
all that they were granted; what each has taken is only shown, by the growth of the device while it
loaded, and where several loaded at once in proportion to their grants.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from backend.app.gpu.probe import Gpu, Reading
from backend.app.models.placement import Books, Grant, Hold, gib

NOISE_BYTES = 256 << 20
"""So much may come and go on a GPU without meaning anything: the driver's own."""

By = Literal["process", "device", "ledger"]
"""How a figure was found: asked of the driver, measured as growth, or in proportion to grants."""


@dataclass
class Entry:
    """One replica's place on one GPU. Bytes."""

    model: str
    replica: str
    gpu: int
    held: int
    begun: bool = True
    """False while others must go first: until then it takes nothing."""
    proven: bool = False
    processes: frozenset[int] = frozenset()
    """The driver's numbers of the engine's processes; empty when they cannot be resolved."""
    taken: int | None = None
    """What it held when it was proven; None before."""
    peak: int = 0
    by: By = "ledger"


@dataclass(frozen=True)
class Share:
    """What of a GPU's used memory is one replica's."""

    model: str
    replica: str
    bytes: int
    by: By


@dataclass(frozen=True)
class Memory:
    """A replica's memory over all its GPUs. Bytes; None while it is not known."""

    granted: int
    used: int | None
    peak: int
    by: By
    over_grant: str
    """In words, where it took more than it was granted; empty when it did not."""


@dataclass
class Ledger:
    _entries: list[Entry] = field(default_factory=list)
    _before: dict[int, int] = field(default_factory=dict)
    """GPU -> what was in use before those whose processes are not known, known ones not counted;
    less when less is in use now."""
    _began: dict[int, int] = field(default_factory=dict)
    """GPU -> what was in use when those that load there began, known ones not counted."""
    _fell: set[int] = field(default_factory=set)
    """GPUs where less than that was seen since: other programs gave back while these loaded, so
    that the growth says nothing about them."""

    # ---- what happens -----------------------------------------------------------------------

    def hold(self, model: str, grants: Sequence[Grant], reading: Reading, *, begun: bool) -> None:
        """Keep these grants for the replicas `model-0`, `model-1`, …; see `begin`."""
        for number, grant in enumerate(grants):
            for gpu, held in zip(grant.gpu_ids, grant.held, strict=True):
                self._entries.append(Entry(model, f"{model}-{number}", gpu, held, begun))
        self._note(reading)

    def begin(self, model: str, reading: Reading) -> None:
        """The model's engines start now, after others had to go: this is what was before them."""
        for entry in self._entries:
            entry.begun = entry.begun or entry.model == model
        for gpu in reading.gpus:
            unknown = self._unknown(gpu.index)
            if unknown and all(e.model == model for e in unknown):
                self._before[gpu.index] = self._others(gpu)
            if all(e.model == model for e in self._loading(gpu.index)):
                self._began[gpu.index] = self._others(gpu)
                self._fell.discard(gpu.index)
        self._tidy()

    def prove(self, replica: str, reading: Reading, processes: Collection[int]) -> None:
        """The replica works: what it holds now is what it takes."""
        by_id = {g.index: g for g in reading.gpus}
        for entry in self.of(replica):
            entry.proven = True
            gpu = by_id.get(entry.gpu)
            if gpu and (own := frozenset(processes) & frozenset(gpu.processes)):
                entry.processes = own
                self._settle(entry, _by_process(entry, gpu), "process")
        self.settle(reading)

    def ended(self, replica: str) -> None:
        """Its engine is gone, the grant stays: it may start again."""
        for entry in self.of(replica):
            self._gives_back(entry)
            entry.proven, entry.taken, entry.processes = False, None, frozenset()

    def release(self, model: str) -> None:
        """Its engines are gone and what they were granted is free again."""
        for entry in [e for e in self._entries if e.model == model]:
            self._gives_back(entry)
            self._entries.remove(entry)
        self._tidy()

    def settle(self, reading: Reading) -> None:
        """Say what each has taken where all that loaded on a GPU are proven by now."""
        for gpu in reading.gpus:
            self._compare(gpu)
            loading, growth = self._loading(gpu.index), self._growth(gpu)
            if all(e.proven for e in loading):
                whole = sum(e.held for e in loading) or 1
                alone = len(loading) == 1 and gpu.index not in self._fell
                by: By = "device" if alone else "ledger"
                for entry in loading:
                    self._settle(entry, growth * entry.held // whole, by)
        self._tidy()

    def watch(self, reading: Reading) -> None:
        """Remember the most that each was seen to take, as far as that can be told."""
        for gpu in reading.gpus:
            self._compare(gpu)
            loading = self._loading(gpu.index)
            if len(loading) == 1:
                loading[0].peak = max(loading[0].peak, self._growth(gpu))
            for entry in self._known(gpu.index):
                entry.peak = max(entry.peak, _by_process(entry, gpu))

    # ---- what can be seen -------------------------------------------------------------------

    def of(self, replica: str) -> list[Entry]:
        return [e for e in self._entries if e.replica == replica]

    def models(self) -> set[str]:
        """Those that hold anything."""
        return {e.model for e in self._entries}

    def others_load_on(self, gpu: int, replica: str) -> bool:
        """Does anybody else's use of this GPU change at this moment?"""
        return any(e.begun and e.replica != replica for e in self._loading(gpu))

    def books(self, reading: Reading) -> Books:
        """For a decision on this reading."""
        self._note(reading)
        by_id = {g.index: g for g in reading.gpus}
        holds = []
        for entry in self._entries:
            gpu = by_id.get(entry.gpu)
            known = _by_process(entry, gpu) if gpu and entry.processes else None
            likely = (entry.taken or 0) if known is None else known
            holds.append(Hold(entry.model, entry.gpu, entry.held, known, likely))
        return Books(tuple(holds), dict(self._before))

    def shares(self, gpu: Gpu) -> list[Share]:
        """Who has what of this GPU's used memory, as far as is known."""
        loading = self._loading(gpu.index)
        whole = sum(e.held for e in loading) or 1
        found = []
        for entry in self._entries:
            if entry.gpu != gpu.index:
                continue
            if entry.processes:
                size, by = _by_process(entry, gpu), entry.by
            elif entry.taken is not None:
                size, by = entry.taken, entry.by
            else:
                size = self._growth(gpu) * entry.held // whole
                by = "device" if len(loading) == 1 else "ledger"
            found.append(Share(entry.model, entry.replica, min(size, gpu.memory_used), by))
        return found

    def memory(self, replica: str) -> Memory | None:
        """None where nothing was granted: without a GPU."""
        entries = self.of(replica)
        if not entries:
            return None
        known = [e.taken for e in entries if e.taken is not None]
        return Memory(
            granted=sum(e.held for e in entries),
            used=sum(known) if len(known) == len(entries) else None,
            peak=sum(e.peak for e in entries),
            by=entries[0].by,
            over_grant=", ".join(
                f"{gib(e.peak)} of {gib(e.held)} granted on GPU {e.gpu}"
                for e in entries
                if e.peak > e.held
            ),
        )

    # ---- bookkeeping ------------------------------------------------------------------------

    def _known(self, gpu: int) -> list[Entry]:
        return [e for e in self._entries if e.gpu == gpu and e.processes]

    def _unknown(self, gpu: int) -> list[Entry]:
        return [e for e in self._entries if e.gpu == gpu and not e.processes]

    def _loading(self, gpu: int) -> list[Entry]:
        return [e for e in self._entries if e.gpu == gpu and e.taken is None]

    def _others(self, gpu: Gpu) -> int:
        """What of it is in use and not by processes that are known to be an engine's."""
        return max(0, gpu.memory_used - sum(_by_process(e, gpu) for e in self._known(gpu.index)))

    def _growth(self, gpu: Gpu) -> int:
        """What those that load have taken together so far."""
        others = self._others(gpu)
        return max(0, others - self._began.get(gpu.index, others))

    def _compare(self, gpu: Gpu) -> None:
        """Notice other programs that give back while somebody loads."""
        began = self._began.get(gpu.index)
        if began is not None and self._others(gpu) < began - NOISE_BYTES:
            self._fell.add(gpu.index)

    def _note(self, reading: Reading) -> None:
        """What is in use besides. Of one that starts again after a crash it is noted a little late:
        what it has by then counts twice."""
        for gpu in reading.gpus:
            others = self._others(gpu)
            if self._unknown(gpu.index):
                self._before[gpu.index] = min(others, self._before.get(gpu.index, others))
            if self._loading(gpu.index):
                self._began.setdefault(gpu.index, others)

    def _gives_back(self, entry: Entry) -> None:
        """What it took is no longer among what was in use when the others began."""
        if entry.taken and not entry.processes and entry.gpu in self._began:
            self._began[entry.gpu] = max(0, self._began[entry.gpu] - entry.taken)

    def _settle(self, entry: Entry, taken: int, by: By) -> None:
        entry.taken, entry.by, entry.peak = taken, by, max(entry.peak, taken)

    def _tidy(self) -> None:
        for gpu in [g for g in self._before if not self._unknown(g)]:
            del self._before[gpu]
        for gpu in [g for g in self._began if not self._loading(g)]:
            del self._began[gpu]
        self._fell &= self._began.keys()


def _by_process(entry: Entry, gpu: Gpu) -> int:
    return sum(gpu.processes.get(p, 0) for p in entry.processes)
