"""Which GPUs a model gets: never more than is free, always the same, refusals with numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.gpu.probe import Gpu
from backend.app.models.placement import (
    GIB,
    MAX_SHARE,
    RESERVE_BYTES,
    Books,
    Grant,
    Hold,
    NoRoom,
    Refused,
    Replicas,
    Wish,
    free_on,
    place,
    split,
)
from tests.support.machines import H200, dgx, gpu, machines

LEGAL = (1, 2, 4, 8)
COUNTS = st.one_of(st.integers(1, 4), st.just("auto"))


def wish(need_gib: float, **more: object) -> Wish:
    given = {"model": "qwen", "legal": LEGAL, "elastic": True} | more
    return Wish(need=int(need_gib * GIB), **given)  # type: ignore[arg-type]


def small(model: str, need_gib: float, *ids: int) -> Wish:
    return Wish(model, int(need_gib * GIB), ids=ids)


SMALL = (small("canary", 10), small("pyannote", 4))


@st.composite
def books_for(draw: st.DrawFn, gpus: Sequence[Gpu]) -> Books:
    """What other models hold on these GPUs; some of them are still loading."""
    holds = []
    for number in range(draw(st.integers(0, 3)) if gpus else 0):
        on = draw(st.sampled_from(gpus))
        held = draw(st.integers(0, 40)) * GIB
        known = draw(st.one_of(st.none(), st.integers(0, held)))
        holds.append(Hold(f"other-{number}", on.index, held, known))
    unknown = {h.gpu for h in holds if h.known is None}
    return Books(tuple(holds), {g.index: g.memory_used // 2 for g in gpus if g.index in unknown})


def outcome(
    gpus: Sequence[Gpu], books: Books, wanted: Wish, awaited: Sequence[Wish] = ()
) -> tuple[Grant, ...] | str:
    """What is granted, or the words of a refusal."""
    try:
        return place(gpus, books, wanted, awaited)
    except Refused as refused:
        return str(refused)


def check(grants: Sequence[Grant], gpus: Sequence[Gpu], books: Books, wanted: Wish) -> None:
    by_id = {g.index: g for g in gpus}
    used = [i for grant in grants for i in grant.gpu_ids]
    assert len(grants) >= 1 if wanted.replicas == "auto" else len(grants) == wanted.replicas
    assert len(set(used)) == len(used), "a GPU was given twice"
    for grant in grants:
        assert len(grant.gpu_ids) in wanted.legal
        for index, held in zip(grant.gpu_ids, grant.held, strict=True):
            assert held <= free_on(by_id[index], books), "more was granted than is free"
            claimed = grant.memory_share * by_id[index].memory_total
            assert claimed <= held
            assert not wanted.elastic or grant.memory_share <= MAX_SHARE
        usable = sum(grant.held) - (len(grant.held) * RESERVE_BYTES if wanted.elastic else 0)
        rounding = 0.0001 * sum(by_id[i].memory_total for i in grant.gpu_ids)
        assert usable >= wanted.need - rounding


@given(
    gpus=machines(),
    replicas=COUNTS,
    need_gib=st.integers(1, 400),
    elastic=st.booleans(),
    awaited=st.lists(st.integers(1, 30), max_size=3),
    named=st.lists(st.integers(0, 7), max_size=3),
    shuffle=st.randoms(use_true_random=False),
    data=st.data(),
)
def test_free_choice_never_over_commits_and_is_always_the_same(
    gpus: list[Gpu],
    replicas: Replicas,
    need_gib: int,
    elastic: bool,
    awaited: list[int],
    named: list[int],
    shuffle: random.Random,
    data: st.DataObject,
) -> None:
    books = data.draw(books_for(gpus))
    wanted = wish(need_gib, replicas=replicas, elastic=elastic)
    others = [small(f"small-{n}", size) for n, size in enumerate(awaited)]
    others += [wish(60, model=f"chat-{n}", ids=(gpu,)) for n, gpu in enumerate(named)]
    result = outcome(gpus, books, wanted, others)
    for shuffled in (gpus, others):
        shuffle.shuffle(shuffled)
    assert outcome(gpus, books, wanted, others) == result
    if isinstance(result, str):
        assert result == "No GPU is left." or f"{need_gib}.0 GiB" in result
    else:
        check(result, gpus, books, wanted)


@given(
    gpus=machines(),
    replicas=COUNTS,
    need_gib=st.integers(1, 400),
    elastic=st.booleans(),
    data=st.data(),
)
def test_chosen_ids_are_honoured_exactly_or_refused(
    gpus: list[Gpu], replicas: Replicas, need_gib: int, elastic: bool, data: st.DataObject
) -> None:
    books = data.draw(books_for(gpus))
    known = [g.index for g in gpus]
    ids = data.draw(st.lists(st.sampled_from([*known, 99]), min_size=1, max_size=8))
    wanted = wish(need_gib, replicas=replicas, ids=tuple(ids), elastic=elastic)
    result = outcome(gpus, books, wanted)
    if isinstance(result, str):
        assert any(letter.isdigit() for letter in result)
    else:
        assert [i for grant in result for i in grant.gpu_ids] == ids
        check(result, gpus, books, wanted)


def test_as_few_and_as_empty_as_possible() -> None:
    gpus = [gpu(0, used_gib=10), gpu(1), gpu(2, used_gib=20), gpu(3)]

    def ids(need_gib: int, replicas: Replicas = 1) -> list[tuple[int, ...]]:
        grants = place(gpus, Books(), wish(need_gib, replicas=replicas))
        return [grant.gpu_ids for grant in grants]

    assert ids(70) == [(1,)]
    assert ids(73) == [(1, 3)]
    assert ids(40, replicas=4) == [(1,), (3,), (0,), (2,)]
    assert ids(70, replicas=3) == [(1,), (3,), (0, 2)]
    assert ids(40, replicas="auto") == [(1,), (3,), (0,), (2,)]
    assert ids(65, replicas="auto") == [(1,), (3,), (0,)]
    assert ids(110, replicas="auto") == [(1, 3), (0, 2)]


@pytest.mark.parametrize(
    ("ids", "need_gib", "groups"),
    [
        ((0, 1, 2, 3), 40, [(0,), (1,), (2,), (3,)]),
        ((3, 1), 40, [(3,), (1,)]),
        ((0, 1, 2, 3), 100, [(0, 1), (2, 3)]),
        ((0, 1, 2, 3), 200, [(0, 1, 2, 3)]),
    ],
)
def test_auto_makes_as_many_replicas_as_fit_the_chosen_gpus(
    ids: tuple[int, ...], need_gib: int, groups: list[tuple[int, ...]]
) -> None:
    grants = place([gpu(i) for i in range(4)], Books(), wish(need_gib, ids=ids, replicas="auto"))
    assert [grant.gpu_ids for grant in grants] == groups


def test_what_was_granted_counts_in_full_whatever_is_taken_so_far() -> None:
    def free(used_gib: int, *holds: Hold, before: int = 0) -> float:
        return free_on(gpu(0, 80, used_gib), Books(holds, {0: before * GIB})) / GIB

    unknown = Hold("qwen", 0, 50 * GIB)
    assert [free(used, unknown) for used in (0, 20, 50)] == [30, 30, 30]
    assert free(60, unknown) == 20, "it took more than it was granted, or somebody else came"
    assert free(30, unknown, before=5) == 25
    assert free(20, Hold("canary", 0, 10 * GIB, 6 * GIB)) == 56, "the rest of it is still its own"
    assert free(20, Hold("canary", 0, 10 * GIB, 15 * GIB)) == 60
    assert free(20, unknown, Hold("canary", 0, 10 * GIB, 6 * GIB), before=3) == 17


# ---- sharing GPUs with what is not loaded yet ------------------------------------------------


def test_an_empty_gpu_is_never_claimed_whole() -> None:
    (grant,) = place([gpu(0)], Books(), wish(1))
    assert grant == Grant((0,), MAX_SHARE, (int(0.9 * 80 * GIB) + RESERVE_BYTES,))


def test_on_the_only_gpu_vllm_leaves_room_for_the_small_ones() -> None:
    (grant,) = place([gpu(0)], Books(), wish(60), SMALL)
    assert grant.memory_share == pytest.approx((80 - 1 - 14) / 80, abs=0.0001)
    (alone,) = place([gpu(0)], Books(), wish(60))
    assert alone.memory_share == MAX_SHARE


def test_room_is_left_as_far_as_it_can_be_spared_the_smallest_first() -> None:
    others = [small("canary", 10), small("pyannote", 8)]
    (grant,) = place([gpu(0)], Books(), wish(70), others)
    assert grant.memory_share == pytest.approx((80 - 1 - 8) / 80, abs=0.0001)


def test_with_more_gpus_the_small_ones_go_elsewhere() -> None:
    (grant,) = place([gpu(0), gpu(1)], Books(), wish(60), SMALL)
    assert grant.memory_share == MAX_SHARE


def test_vllm_on_all_eight_leaves_room_once() -> None:
    """Beside 0.90 of 80 GiB the smaller one fits; for the other the last replica makes room."""
    grants = place([gpu(i) for i in range(8)], Books(), wish(60, replicas="auto"), SMALL)
    shares = [grant.memory_share for grant in grants]
    assert shares[:7] == [MAX_SHARE] * 7
    assert shares[7] == pytest.approx((80 - 1 - 10) / 80, abs=0.0001)


def test_on_a_dgx_the_tenth_that_vllm_leaves_holds_the_small_ones() -> None:
    gpus = dgx().gpus
    wanted = wish(64, replicas="auto")
    grants = place(gpus, Books(), wanted, SMALL)
    assert [grant.memory_share for grant in grants] == [MAX_SHARE] * 8
    holds = [Hold("qwen", g.gpu_ids[0], g.held[0]) for g in grants]
    full = dgx({i: int(MAX_SHARE * H200) for i in range(8)}).gpus
    (canary,) = place(full, Books(tuple(holds), dict.fromkeys(range(8), 595 << 20)), SMALL[0])
    assert len(canary.gpu_ids) == 1


def test_auto_does_not_take_the_last_room_of_another_model() -> None:
    grants = place([gpu(i) for i in range(4)], Books(), wish(70, replicas="auto"), SMALL)
    assert [grant.gpu_ids for grant in grants] == [(0,), (1,), (2,)]


def test_a_gpu_that_another_model_names_is_taken_last() -> None:
    named = [small("canary", 10, 0)]
    gpus = [gpu(0), gpu(1)]
    assert place(gpus, Books(), wish(60), named)[0] == place([gpu(1)], Books(), wish(60))[0]
    (grant,) = place(gpus, Books(), wish(60, ids=(0,)), named)
    assert grant.memory_share == pytest.approx((80 - 1 - 10) / 80, abs=0.0001)


def test_a_gpu_that_another_chat_model_names_is_taken_last_and_by_no_spare_replica() -> None:
    named = [wish(60, model="second", ids=(0,))]
    gpus = [gpu(i) for i in range(3)]
    (grant,) = place(gpus, Books(), wish(60), named)
    assert (grant.gpu_ids, grant.memory_share) == ((1,), MAX_SHARE)
    grants = place(gpus, Books(), wish(60, replicas="auto"), named)
    assert [grant.gpu_ids for grant in grants] == [(1,), (2,)]
    (grant,) = place([gpu(0)], Books(), wish(60, replicas="auto"), named)
    assert grant.gpu_ids == (0,), "one replica there is wherever it fits"


# ---- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "replicas", "words"),
    [
        ((0, 1, 2), 1, "3 GPUs per replica is no legal tensor-parallel size .* legal: 1, 2, 4, 8"),
        ((0, 1, 2), 2, "3 GPUs cannot be shared equally by 2 replicas"),
        ((0, 9), 1, r"\[0, 9\]: choose different ones of \[0, 1, 2, 3\]"),
        ((1, 1), 1, r"\[1, 1\]: choose different ones of"),
        ((3,), 1, r"30.0 GiB and 1.0 GiB in reserve on 1 GPU\(s\); GPU 3: 10.0 GiB free"),
        ((3,), "auto", r"30.0 GiB and 1.0 GiB in reserve on 1 GPU\(s\); GPU 3: 10.0 GiB free"),
        ((), 5, "No GPU is left"),
    ],
)
def test_a_refusal_says_what_would_do(ids: tuple[int, ...], replicas: Replicas, words: str) -> None:
    gpus = [gpu(0), gpu(1), gpu(2), gpu(3, used_gib=30 if not ids else 70)]
    with pytest.raises(Refused, match=words):
        place(gpus, Books(), wish(30, ids=ids, replicas=replicas))


def test_only_a_lack_of_memory_is_called_so() -> None:
    gpus = [gpu(0), gpu(1), gpu(2)]
    for ids in ((0, 1, 2), (7,)):
        with pytest.raises(Refused) as refused:
            place(gpus, Books(), wish(10, ids=ids))
        assert not isinstance(refused.value, NoRoom)
    with pytest.raises(NoRoom):
        place(gpus, Books(), wish(100, ids=(0, 1, 2), replicas="auto"))


@given(ids=st.lists(st.integers(0, 31), unique=True, max_size=16), replicas=st.integers(1, 8))
def test_split_keeps_every_id_in_order(ids: list[int], replicas: int) -> None:
    try:
        groups = split(ids, replicas, LEGAL)
    except Refused:
        assert len(ids) % replicas or len(ids) // replicas not in LEGAL
        return
    assert [i for group in groups for i in group] == ids
    assert {len(group) for group in groups} == {len(ids) // replicas}
