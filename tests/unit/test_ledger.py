"""The ledger against a machine that it only sees through readings: it never promises too much."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.app.gpu.probe import Reading
from backend.app.models.ledger import Ledger
from backend.app.models.placement import GIB, Grant, NoRoom, Wish, free_on, place
from tests.support.machines import gpu
from tests.support.properties import cases

TOTAL = 80 * GIB
KEYS = ("a", "b", "c", "d")
NAMES = {key: f"{key}-0" for key in KEYS}


class Truth(RuleBasedStateMachine):
    """Engines that take any part of their grant, at any time; a foreign program that does not
    grow. Two GPUs."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.grants: dict[str, Grant] = {}
        self.taken: dict[str, dict[int, int]] = {}
        self.proven: set[str] = set()
        self.foreign = {0: 30 * GIB, 1: 0}
        self.pids = False

    def reading(self) -> Reading:
        gpus = []
        for index in (0, 1):
            own = {
                number: self.taken[key][index]
                for number, key in enumerate(KEYS)
                if self.taken.get(key, {}).get(index)
            }
            used = self.foreign[index] + sum(own.values())
            one = replace(gpu(index), memory_used=used)
            gpus.append(replace(one, processes=own if self.pids else {}))
        return Reading("nvml", tuple(gpus))

    @rule(pids=st.booleans())
    @precondition(lambda self: not self.grants)
    def another_driver(self, pids: bool) -> None:
        self.pids = pids

    @rule(
        key=st.sampled_from(KEYS),
        gib=st.sampled_from([5, 10, 20, 60]),
        ids=st.sampled_from([(0,), (0,), (0, 1), ()]),
        elastic=st.sampled_from([False, False, True]),
    )
    def place(self, key: str, gib: int, ids: tuple[int, ...], elastic: bool) -> None:
        if key in self.grants:
            return
        reading = self.reading()
        self.ledger.settle(reading)
        wish = Wish(key, gib * GIB, (1, 2), ids, elastic=elastic)
        try:
            (grant,) = place(reading.gpus, self.ledger.books(reading), wish)
        except NoRoom:
            return
        self.ledger.hold(key, [grant], reading, begun=True)
        self.grants[key] = grant
        self.taken[key] = dict.fromkeys(grant.gpu_ids, 0)

    @rule(key=st.sampled_from(KEYS), part=st.sampled_from([0.3, 0.8, 1.0]))
    def take(self, key: str, part: float) -> None:
        for index, held in self.held(key).items():
            self.taken[key][index] = max(self.taken[key][index], int(part * held))

    @rule(key=st.sampled_from(KEYS))
    def prove(self, key: str) -> None:
        if key in self.grants and key not in self.proven:
            own = {KEYS.index(key)} if self.pids else set()
            self.ledger.prove(NAMES[key], self.reading(), own)
            self.proven.add(key)

    @rule(key=st.sampled_from(KEYS))
    def crash(self, key: str) -> None:
        if key in self.grants:
            self.taken[key] = dict.fromkeys(self.grants[key].gpu_ids, 0)
            self.ledger.ended(NAMES[key])
            self.proven.discard(key)

    @rule(key=st.sampled_from(KEYS))
    def release(self, key: str) -> None:
        if key in self.grants:
            del self.grants[key], self.taken[key]
            self.proven.discard(key)
            self.ledger.release(key)

    @rule(index=st.sampled_from([0, 1]), part=st.sampled_from([0.0, 0.5]))
    def another_program_goes(self, index: int, part: float) -> None:
        self.foreign[index] = int(self.foreign[index] * part)

    @rule()
    def look(self) -> None:
        self.ledger.watch(self.reading())

    def held(self, key: str) -> dict[int, int]:
        grant = self.grants.get(key)
        return dict(zip(grant.gpu_ids, grant.held, strict=True)) if grant else {}

    @invariant()
    def everybody_may_take_all_that_was_granted(self) -> None:
        for index in (0, 1):
            promised = sum(self.held(key).get(index, 0) for key in KEYS)
            assert self.foreign[index] + promised <= TOTAL

    @invariant()
    def free_is_never_more_than_is_left(self) -> None:
        reading = self.reading()
        books = self.ledger.books(reading)
        for one in reading.gpus:
            promised = sum(self.held(key).get(one.index, 0) for key in KEYS)
            assert free_on(one, books) <= TOTAL - self.foreign[one.index] - promised

    @invariant()
    def no_more_is_put_down_to_engines_than_is_in_use(self) -> None:
        for one in self.reading().gpus:
            shares = self.ledger.shares(one)
            assert {share.model for share in shares} <= set(self.grants)
            if self.pids or len(shares) == 1:
                assert sum(share.bytes for share in shares) <= one.memory_used

    @invariant()
    def nothing_is_kept_for_nobody(self) -> None:
        assert self.ledger.models() == set(self.grants)
        if not self.grants:
            assert not self.ledger._before
            assert not self.ledger._began


TestTruth = Truth.TestCase
TestTruth.settings = cases(100, deep=2000, stateful_step_count=40)


def entry(ledger: Ledger, replica: str = "a-0") -> tuple[int | None, int, str]:
    (one,) = ledger.of(replica)
    return one.taken and round(one.taken / GIB), round(one.peak / GIB), one.by


def reading(used_gib: int, **processes: int) -> Reading:
    numbers = {int(name[1:]): size * GIB for name, size in processes.items()}
    return Reading("nvml", (replace(gpu(0, 80, used_gib), processes=numbers),))


@pytest.mark.parametrize("pids", [True, False])
def test_the_peak_of_a_load_is_remembered_and_compared(pids: bool) -> None:
    ledger = Ledger()
    ledger.hold("a", [Grant((0,), 0.5, (40 * GIB,))], reading(5), begun=True)
    ledger.watch(reading(50, p7=45))
    ledger.prove("a-0", reading(35, p7=30), {7} if pids else set())
    assert entry(ledger) == (30, 45, "process" if pids else "device")
    memory = ledger.memory("a-0")
    assert memory
    assert memory.over_grant == "45.0 GiB of 40.0 GiB granted on GPU 0"
    ledger.ended("a-0")
    ledger.release("a")
    assert ledger.memory("a-0") is None


def test_two_that_load_at_once_are_told_apart_by_process_only() -> None:
    def both(*, pids: bool) -> Ledger:
        ledger = Ledger()
        for key, gib in (("a", 10), ("b", 30)):
            ledger.hold(key, [Grant((0,), 0.1, (gib * GIB,))], reading(4), begun=True)
        ledger.prove("a-0", reading(12, p1=8), {1} if pids else set())
        if not pids:
            assert entry(ledger)[0] is None, "not before the other is proven too"
        ledger.prove("b-0", reading(24, p1=8, p2=12), {2} if pids else set())
        return ledger

    known, shared = both(pids=True), both(pids=False)
    assert (entry(known)[0], entry(known, "b-0")[0]) == (8, 12)
    assert (entry(shared), entry(shared, "b-0")) == ((5, 5, "ledger"), (15, 15, "ledger"))


def test_growth_after_the_proof_is_seen_where_processes_are() -> None:
    ledger = Ledger()
    ledger.hold("a", [Grant((0,), 0.1, (10 * GIB,))], reading(0), begun=True)
    ledger.prove("a-0", reading(8, p1=8), {1})
    ledger.watch(reading(14, p1=14))
    memory = ledger.memory("a-0")
    assert memory
    assert memory.over_grant
    (share,) = ledger.shares(reading(14, p1=14).gpus[0])
    assert (share.bytes, share.by) == (14 * GIB, "process")


def test_what_waits_for_others_to_go_is_held_but_disturbs_no_measurement() -> None:
    ledger = Ledger()
    ledger.hold("old", [Grant((0,), 0.5, (40 * GIB,))], reading(0), begun=True)
    ledger.prove("old-0", reading(40), set())
    ledger.hold("new", [Grant((0,), 0.5, (60 * GIB,))], reading(40), begun=False)
    assert not ledger.others_load_on(0, "old-0")
    ledger.release("old")
    assert free_on(reading(40).gpus[0], ledger.books(reading(40))) == 20 * GIB
    ledger.begin("new", reading(15))
    assert free_on(reading(15).gpus[0], ledger.books(reading(15))) == 5 * GIB, "25 did not return"
    assert ledger.others_load_on(0, "another-0")


def test_what_loaded_together_does_not_count_twice_when_one_of_them_goes() -> None:
    ledger = Ledger()
    for key, gib in (("small", 10), ("large", 60)):
        ledger.hold(key, [Grant((0,), 0.1, (gib * GIB,))], reading(2), begun=True)
    ledger.prove("small-0", reading(42), set())
    ledger.prove("large-0", reading(68), set())
    ledger.release("small")
    assert free_on(reading(61).gpus[0], ledger.books(reading(61))) == 18 * GIB


def test_what_another_program_gives_back_may_be_granted() -> None:
    ledger = Ledger()
    ledger.hold("small", [Grant((0,), 0.1, (10 * GIB,))], reading(50), begun=True)
    ledger.prove("small-0", reading(57), set())
    assert free_on(reading(57).gpus[0], ledger.books(reading(57))) == 20 * GIB
    assert free_on(reading(7).gpus[0], ledger.books(reading(7))) == 63 * GIB
    ledger.hold("next", [Grant((0,), 0.1, (20 * GIB,))], reading(7), begun=True)
    ledger.prove("next-0", reading(22), set())
    assert entry(ledger, "next-0") == (15, 15, "device")


def test_what_loads_while_others_give_back_is_not_measured_by_the_device() -> None:
    ledger = Ledger()
    ledger.hold("a", [Grant((0,), 0.5, (40 * GIB,))], reading(30), begun=True)
    ledger.watch(reading(10))
    ledger.prove("a-0", reading(45), set())
    assert entry(ledger) == (15, 15, "ledger")
    ledger.release("a")
    ledger.hold("b", [Grant((0,), 0.5, (40 * GIB,))], reading(5), begun=True)
    ledger.prove("b-0", reading(35), set())
    assert entry(ledger, "b-0") == (30, 30, "device")
