"""Who goes so that a model fits: idle ones only, least recently used first, no more than must."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.gpu.probe import Gpu
from backend.app.models.eviction import Decision, Resident, decide, why_it_stays
from backend.app.models.placement import GIB, Books, Hold, NoRoom, Refused, Wish
from tests.support.machines import gpu, machines

NOW, MIN_RESIDENCE_S = 1000.0, 60.0
OLD = 100.0


def resident(model: str, last_used: float = OLD, **more: Any) -> Resident:
    base = Resident(model, leases=0, pinned=False, last_used=last_used, since=OLD)
    return replace(base, **more)


def outcome(
    gpus: Sequence[Gpu], holds: Sequence[Hold], residents: Sequence[Resident], wish: Wish
) -> Decision | str:
    used = {g.index: g.memory_used for g in gpus}
    likely = [(h.gpu, h.likely) for h in holds if h.known is None]
    before = {i: used[i] - sum(size for gpu, size in likely if gpu == i) for i, _ in likely}
    books = Books(tuple(holds), before)
    try:
        return decide(gpus, books, residents, wish, now=NOW, min_residence_s=MIN_RESIDENCE_S)
    except Refused as refused:
        return str(refused)


def machine_without(
    gpus: Sequence[Gpu], holds: Sequence[Hold], gone: Sequence[str]
) -> tuple[list[Gpu], list[Hold]]:
    """What is left when these models have really gone."""
    left = []
    for one in gpus:
        freed = sum(h.likely for h in holds if h.gpu == one.index and h.model in gone)
        left.append(replace(one, memory_used=one.memory_used - freed))
    return left, [h for h in holds if h.model not in gone]


@given(gpus=machines(least=1), data=st.data(), shuffle=st.randoms(use_true_random=False))
def test_properties(gpus: list[Gpu], data: st.DataObject, shuffle: random.Random) -> None:
    models = [f"m{n}" for n in range(data.draw(st.integers(0, 4)))]
    holds, residents = [], []
    for model in models:
        places = st.lists(st.integers(0, len(gpus) - 1), min_size=1, max_size=2, unique=True)
        for place in data.draw(places):
            on = gpus[place]
            spare = on.memory_total - on.memory_used
            taken = data.draw(st.integers(0, max(0, spare) // GIB)) * GIB
            gpus[place] = replace(on, memory_used=on.memory_used + taken)
            known = data.draw(st.sampled_from([taken, None]))
            held = taken + data.draw(st.integers(0, 4)) * GIB
            holds.append(Hold(model, on.index, held, known, taken))
        residents.append(
            Resident(
                model,
                leases=data.draw(st.sampled_from([0, 0, 1])),
                pinned=data.draw(st.sampled_from([False, False, True])),
                last_used=data.draw(st.sampled_from([100.0, 200.0, 300.0])),
                since=data.draw(st.sampled_from([OLD, OLD, NOW - MIN_RESIDENCE_S + 1, None])),
            )
        )
    wish = Wish(
        "new",
        data.draw(st.integers(1, 200)) * GIB,
        legal=(1, 2, 4),
        ids=data.draw(
            st.one_of(st.just(()), st.lists(st.sampled_from([g.index for g in gpus])).map(tuple))
        ),
        replicas=data.draw(st.sampled_from([1, 2, "auto"])),
        elastic=data.draw(st.booleans()),
    )
    result = outcome(gpus, holds, residents, wish)
    for shuffled in (gpus, holds, residents):
        shuffle.shuffle(shuffled)
    assert outcome(gpus, holds, residents, wish) == result
    if isinstance(result, str):
        return

    by_key = {r.model: r for r in residents}
    for key in result.evict:
        assert not by_key[key].leases
        assert not by_key[key].pinned
        since = by_key[key].since
        assert since is not None
        assert NOW - since >= MIN_RESIDENCE_S
    left, kept = machine_without(gpus, holds, result.evict)
    promised: dict[int, int] = {}
    for grant in result.grants:
        for index, held in zip(grant.gpu_ids, grant.held, strict=True):
            promised[index] = promised.get(index, 0) + held
    for one in left:
        if one.index in promised:
            own = [h for h in kept if h.gpu == one.index]
            others = one.memory_used - sum(h.likely for h in own)
            assert others + sum(h.held for h in own) + promised[one.index] <= one.memory_total
    if wish.ids:
        assert tuple(i for grant in result.grants for i in grant.gpu_ids) == wish.ids
    for spared in result.evict:  # nobody goes without need
        fewer = [key for key in result.evict if key != spared]
        idle = [r for r in residents if r.model in fewer]
        assert isinstance(outcome(gpus, holds, idle, wish), str)


# ---- examples ---------------------------------------------------------------------------------

FULL = [gpu(0, 80, 70)]
HOLDS = [Hold("old", 0, 40 * GIB, likely=40 * GIB), Hold("new", 0, 30 * GIB, likely=30 * GIB)]
BOTH = [resident("old", 100.0), resident("new", 200.0)]


def evicted(need_gib: int, residents: Sequence[Resident] = tuple(BOTH)) -> tuple[str, ...]:
    result = outcome(FULL, HOLDS, residents, Wish("third", need_gib * GIB))
    assert isinstance(result, Decision), result
    return result.evict


def test_least_recently_used_first_and_no_more_than_must() -> None:
    assert evicted(10) == ()
    assert evicted(30) == ("old",)
    assert evicted(60) == ("old", "new")
    assert evicted(30, [resident("old", 200.0), resident("new", 100.0)]) == ("new",)


def test_who_could_not_help_is_left_alone() -> None:
    gpus = [gpu(0, 80, 70), gpu(1, 80, 70)]
    holds = [Hold("old", 0, 70 * GIB, likely=70 * GIB), Hold("new", 1, 70 * GIB, likely=70 * GIB)]
    result = outcome(gpus, holds, BOTH, Wish("third", 40 * GIB, ids=(1,)))
    assert isinstance(result, Decision)
    assert result.evict == ("new",)


def test_vllm_gets_what_the_evicted_give_back() -> None:
    wish = Wish("qwen", 60 * GIB, elastic=True)
    result = outcome(FULL, HOLDS, BOTH, wish)
    assert isinstance(result, Decision)
    assert result.evict == ("old", "new")
    assert result.grants[0].memory_share == 0.9


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"leases": 1}, "in use"),
        ({"pinned": True}, "pinned"),
        ({"since": None}, "loading or unloading"),
        ({"since": NOW - 12}, "loaded 12 s ago"),
        ({}, ""),
    ],
)
def test_who_stays_and_why(change: dict[str, Any], why: str) -> None:
    one = resident("old", **change)
    assert why_it_stays(one, NOW, MIN_RESIDENCE_S) == why
    result = outcome([gpu(0, 80, 45)], HOLDS[:1], [one], Wish("third", 61 * GIB))
    if not why:
        assert isinstance(result, Decision)
    else:
        assert result == (
            "It needs 61.0 GiB on 1 GPU(s); the emptiest: GPU 0: 35.0 GiB free."
            f" Held by old (40.0 GiB, {why}), other programs (5.0 GiB)."
        )


def test_what_is_not_there_to_be_freed_is_named_too() -> None:
    with pytest.raises(NoRoom, match=r"Held by new .* idle, but too small\), old .* idle, but too"):
        decide(
            FULL,
            Books(tuple(HOLDS), {0: 0}),
            BOTH,
            Wish("x", 90 * GIB),
            now=NOW,
            min_residence_s=60,
        )


def test_a_model_that_is_placed_anew_counts_as_gone() -> None:
    result = outcome(FULL, HOLDS, BOTH, Wish("old", 45 * GIB))
    assert isinstance(result, Decision)
    assert result.evict == ()
