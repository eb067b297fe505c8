"""Every drawing once, in batches that are full, of similar length, and the same for the same seed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quickstroke.data import batches as module
from quickstroke.data.batches import by_length, by_length_of_points, cut, rebalanced, shuffled, shuffled_by_length

Batches = list[NDArray[np.int64]]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lengths(n: int, seed: int = 1) -> NDArray[np.int32]:
    """Lengths as drawings have them: most short, some long."""
    return rng(seed).geometric(1 / 40, n).astype(np.int32)


def as_lists(batches: object) -> list[list[int]]:
    return [batch.tolist() for batch in batches]  # type: ignore[attr-defined]


def padding(batches: Batches, n_points: NDArray[np.int32]) -> float:
    """Steps, padding included, over true steps."""
    steps = sum(len(batch) * int(n_points[batch].max()) for batch in batches)
    return steps / sum(int(n_points[batch].sum()) for batch in batches)


@given(
    st.lists(st.integers(0, 400), unique=True, max_size=200), st.integers(1, 50), st.integers(0, 9), st.integers(1, 5)
)
def test_every_index_once_and_at_most_one_short_batch(chosen: list[int], batch_size: int, seed: int, pool: int) -> None:
    indices = np.array(chosen, np.int64)
    before = indices.copy()
    n_points = lengths(401)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_POOL_BATCHES", pool)
        for batches in (
            cut(indices, batch_size),
            shuffled(indices.copy(), batch_size, rng(seed)),
            shuffled_by_length(indices.copy(), n_points.__getitem__, batch_size, rng(seed)),
            by_length(indices, n_points[indices], batch_size),
        ):
            found = [index for batch in batches for index in batch.tolist()]
            assert sorted(found) == sorted(chosen)
            sizes = sorted(map(len, batches))
            assert all(size == batch_size for size in sizes[1:])
            assert all(0 < size <= batch_size for size in sizes[:1])
            assert len(batches) == -(-len(chosen) // batch_size)
    assert np.array_equal(indices, before)


def test_cut_keeps_the_order() -> None:
    assert as_lists(cut(np.array([5, 3, 8, 1, 2]), 2)) == [[5, 3], [8, 1], [2]]
    assert as_lists(cut(np.array([], np.int64), 2)) == []


def test_order_of_length_is_the_order_of_the_batches() -> None:
    n_points = np.array([9, 2, 5, 2, 7], np.int32)
    assert as_lists(by_length(np.array([0, 1, 2, 3, 4]), n_points, 2)) == [[1, 3], [2, 4], [0]]
    # equal ones stay in their order
    assert as_lists(by_length(np.array([3, 1, 0]), n_points[[3, 1, 0]], 2)) == [[3, 1], [0]]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=200), st.integers(1, 1000))
def test_batches_of_so_many_points(points: list[int], n_together: int) -> None:
    n_points, indices = np.array(points, np.int32), np.arange(len(points)) + 7
    batches = by_length_of_points(indices, n_points, n_together)
    assert as_lists([np.concatenate(batches)]) == as_lists(by_length(indices, n_points, len(points)))
    assert all(len(batch) for batch in batches)
    # Each ends with the drawing that reaches a multiple of `n_together`, or the one before.
    assert all(int(n_points[batch - 7].sum()) <= n_together + int(n_points[batch - 7].max()) for batch in batches)


@pytest.mark.parametrize(
    "make", [shuffled, lambda i, size, r: shuffled_by_length(i, lengths(1000).__getitem__, size, r)]
)
def test_batches_are_a_function_of_the_generator(make) -> None:  # type: ignore[no-untyped-def]
    first = as_lists(make(np.arange(1000), 32, rng(7)))
    assert as_lists(make(np.arange(1000), 32, rng(7))) == first
    assert as_lists(make(np.arange(1000, dtype=np.int32), 32, rng(7))) == first
    assert as_lists(make(np.arange(1000), 32, rng(8))) != first
    generator = rng(7)
    assert as_lists(make(np.arange(1000), 32, generator)) == first
    assert as_lists(make(np.arange(1000), 32, generator)) != first


def test_shuffling_mixes_what_lay_together() -> None:
    labels = np.repeat(np.arange(10), 100)
    for batches in (
        shuffled(np.arange(1000), 50, rng()),
        shuffled_by_length(np.arange(1000), lengths(1000).__getitem__, 50, rng()),
    ):
        assert min(len(set(labels[batch].tolist())) for batch in batches) >= 6


def test_what_goes_together_differs_from_epoch_to_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POOL_BATCHES", 4)
    generator, n_points = rng(), lengths(2000)
    epochs = [
        {
            frozenset(batch.tolist())
            for batch in shuffled_by_length(np.arange(2000), n_points.__getitem__, 10, generator)
        }
        for _ in range(2)
    ]
    assert not epochs[0] & epochs[1]


def test_batches_within_a_pool_part_by_length() -> None:
    n_points = lengths(64 * 16)
    batches = shuffled_by_length(np.arange(64 * 16), n_points.__getitem__, 16, rng())
    spans = sorted((int(n_points[batch].min()), int(n_points[batch].max())) for batch in batches)
    assert all(high <= low for (_, high), (low, _) in pairwise(spans))
    # but they do not come in order of length
    assert [int(n_points[batch].min()) for batch in batches] != sorted(int(n_points[batch].min()) for batch in batches)


def test_similar_lengths_take_little_padding() -> None:
    n_points, indices = lengths(20_000), np.arange(20_000)
    at_random = padding(shuffled(indices.copy(), 64, rng()), n_points)
    pooled = padding(shuffled_by_length(indices.copy(), n_points.__getitem__, 64, rng()), n_points)
    sorted_ = padding(list(by_length(indices, n_points, 64)), n_points)
    assert sorted_ <= pooled < 1.15 < 3 < at_random


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=120),
    balance=st.floats(0, 1),
    n=st.integers(1, 300),
    seed=st.integers(0, 99),
)
def test_rebalancing_takes_each_drawing_as_often_as_it_should(
    labels: list[int], balance: float, n: int, seed: int
) -> None:
    indices, of = 3 * np.arange(len(labels)) + 1, np.array(labels)
    taken = rebalanced(indices, of, balance, n, rng(seed))
    assert abs(len(taken) - n) <= 1
    assert np.array_equal(taken, np.sort(taken)) and set(taken.tolist()) <= set(indices.tolist())
    in_class = np.bincount(of)
    shares = np.where(in_class > 0, in_class.clip(min=1).astype(float) ** (1 - balance), 0)
    expected = n * (shares / shares.sum())[of] / in_class[of]
    times = np.array([(taken == index).sum() for index in indices])
    assert (np.abs(times - expected) < 1 + 1e-6).all()


@pytest.mark.parametrize(("balance", "counts"), [(0.0, [900, 90, 9]), (1.0, [333, 333, 333]), (0.5, [704, 223, 70])])
def test_rebalancing_moves_classes_towards_each_other(balance: float, counts: list[int]) -> None:
    labels = np.repeat([0, 1, 2], [900, 90, 9])
    taken = rebalanced(np.arange(999), labels, balance, 999, rng())
    assert np.bincount(labels[taken]) == pytest.approx(counts, abs=2)


def test_what_is_rounded_differs_from_epoch_to_epoch() -> None:
    labels, generator = np.repeat([0, 1], [90, 10]), rng()
    first, second = (rebalanced(np.arange(100), labels, 0.5, 100, generator) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(rebalanced(np.arange(100), labels, 0.5, 100, rng()), first)


def test_any_drawings_may_come_together() -> None:
    """Half of forty of one class: not every second one."""
    generator = rng()
    subsets = {tuple(rebalanced(np.arange(40), np.zeros(40, int), 0.5, 20, generator)) for _ in range(50)}
    assert len(subsets) == 50


def test_every_drawing_once_where_nothing_is_rebalanced() -> None:
    assert rebalanced(np.arange(50), np.arange(50) % 3, 0.0, 50, rng(4)).tolist() == list(range(50))


def test_nothing_to_rebalance_is_nothing() -> None:
    assert len(rebalanced(np.empty(0, np.int64), np.empty(0, np.int64), 0.5, 7, rng())) == 0
