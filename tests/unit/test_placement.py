"""Which GPUs a model gets: never more than is free, always the same, refusals with numbers."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.gpu.probe import Gpu
from backend.app.models.placement import (
    GIB,
    MAX_SHARE,
    RESERVE_BYTES,
    Grant,
    Refused,
    place,
    share,
    split,
)

LEGAL = [1, 2, 4, 8]


def gpu(index: int, total_gib: float = 80, used_gib: float = 0) -> Gpu:
    return Gpu(index, f"GPU-{index}", "H", int(total_gib * GIB), int(used_gib * GIB))


@st.composite
def machines(draw: st.DrawFn) -> list[Gpu]:
    """Up to eight GPUs, not always alike, each as full as may be; numbers with gaps."""
    total = draw(st.sampled_from([24, 80, 141]))
    indices = draw(st.lists(st.integers(0, 15), max_size=8, unique=True))
    made = []
    for index in indices:
        own = draw(st.sampled_from([total, total, 48]))
        made.append(gpu(index, own, own * draw(st.integers(0, 100)) / 100))
    return made


def outcome(
    gpus: Sequence[Gpu], ids: Sequence[int], replicas: int, need_gib: int
) -> list[Grant] | str:
    """What is granted, or the words of a refusal."""
    try:
        return place(gpus, ids=ids, replicas=replicas, need=need_gib * GIB, legal=LEGAL)
    except Refused as refused:
        return str(refused)


def check(grants: list[Grant], gpus: list[Gpu], replicas: int, need: int) -> None:
    by_id = {g.index: g for g in gpus}
    used = [i for grant in grants for i in grant.gpu_ids]
    assert len(grants) == replicas
    assert len(set(used)) == len(used), "a GPU was given twice"
    for grant in grants:
        members = [by_id[i] for i in grant.gpu_ids]
        assert len(members) in LEGAL
        assert 0 < grant.memory_share <= MAX_SHARE
        assert all(grant.memory_share * g.memory_total <= g.memory_free for g in members)
        rounding = 0.0001 * sum(g.memory_total for g in members)
        assert sum(grant.memory_share * g.memory_total for g in members) >= need - rounding


@given(
    gpus=machines(),
    replicas=st.integers(1, 4),
    need_gib=st.integers(1, 400),
    shuffle=st.randoms(use_true_random=False),
)
def test_free_choice(gpus: list[Gpu], replicas: int, need_gib: int, shuffle: random.Random) -> None:
    shuffled = list(gpus)
    shuffle.shuffle(shuffled)

    result = outcome(gpus, (), replicas, need_gib)
    assert result == outcome(shuffled, (), replicas, need_gib)
    if isinstance(result, str):
        assert result == "No GPU is left." or f"{need_gib}.0 GiB" in result
    else:
        check(result, gpus, replicas, need_gib * GIB)


@given(gpus=machines(), replicas=st.integers(1, 4), need_gib=st.integers(1, 400), data=st.data())
def test_chosen_ids_are_honoured_exactly_or_refused(
    gpus: list[Gpu], replicas: int, need_gib: int, data: st.DataObject
) -> None:
    known = [g.index for g in gpus]
    ids = data.draw(st.lists(st.sampled_from([*known, 99]), min_size=1, max_size=8))
    result = outcome(gpus, ids, replicas, need_gib)
    if isinstance(result, str):
        assert re.search(r"\d", result)
    else:
        assert [i for grant in result for i in grant.gpu_ids] == ids
        check(result, gpus, replicas, need_gib * GIB)


@given(gpus=machines().filter(bool))
def test_the_fullest_gpu_decides_how_much_may_be_claimed(gpus: list[Gpu]) -> None:
    part = share(gpus)
    assert 0 <= part <= MAX_SHARE
    if part:
        assert all(part * g.memory_total <= g.memory_free - RESERVE_BYTES + 1 for g in gpus)


def test_as_few_and_as_empty_as_possible() -> None:
    gpus = [gpu(0, used_gib=10), gpu(1), gpu(2, used_gib=20), gpu(3)]

    def ids(need_gib: int, replicas: int = 1) -> list[tuple[int, ...]]:
        grants = place(gpus, ids=(), replicas=replicas, need=need_gib * GIB, legal=LEGAL)
        return [grant.gpu_ids for grant in grants]

    assert ids(70) == [(1,)]
    assert ids(73) == [(1, 3)]
    assert ids(40, replicas=4) == [(1,), (3,), (0,), (2,)]
    assert ids(70, replicas=3) == [(1,), (3,), (0, 2)]


def test_an_empty_gpu_is_never_claimed_whole() -> None:
    (grant,) = place([gpu(0)], ids=(), replicas=1, need=GIB, legal=LEGAL)
    assert grant == Grant((0,), MAX_SHARE)


@pytest.mark.parametrize(
    ("ids", "replicas", "words"),
    [
        ((0, 1, 2), 1, "3 GPUs per replica is no legal tensor-parallel size .* legal: 1, 2, 4, 8"),
        ((0, 1, 2), 2, "3 GPUs cannot be shared equally by 2 replicas"),
        ((0, 9), 1, r"\[0, 9\]: choose different ones of \[0, 1, 2, 3\]"),
        ((1, 1), 1, r"\[1, 1\]: choose different ones of"),
        ((3,), 1, r"needs 30.0 GiB on 1 GPU\(s\); GPU 3: 10.0 GiB free"),
    ],
)
def test_a_refusal_says_what_would_do(ids: tuple[int, ...], replicas: int, words: str) -> None:
    gpus = [gpu(0), gpu(1), gpu(2), gpu(3, used_gib=70)]
    with pytest.raises(Refused, match=words):
        place(gpus, ids=ids, replicas=replicas, need=30 * GIB, legal=LEGAL)


@given(ids=st.lists(st.integers(0, 31), unique=True, max_size=16), replicas=st.integers(1, 8))
def test_split_keeps_every_id_in_order(ids: list[int], replicas: int) -> None:
    try:
        groups = split(ids, replicas, LEGAL)
    except Refused:
        assert len(ids) % replicas or len(ids) // replicas not in LEGAL
        return
    assert [i for group in groups for i in group] == ids
    assert {len(group) for group in groups} == {len(ids) // replicas}
