"""Batches: which drawings go together, and their points as one padded array.

Batches are lists of indices; the points are gathered from the memory map when a batch is due.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.data.points import fill_points, n_channels, n_rows

# Drawings are put in order of length within pools of so many batches: long enough that a batch is nearly of one
# length, short enough that what goes together differs from epoch to epoch.
_POOL_BATCHES = 64

Index = TypeVar("Index", np.int32, np.int64)


class Drawings(Protocol):
    """What a dataset offers to those that read it: the arrays of `dataset.PreparedDataset`."""

    @property
    def points(self) -> NDArray[np.uint8]: ...
    @property
    def pen_up(self) -> NDArray[np.uint8]: ...
    @property
    def offsets(self) -> NDArray[Any]: ...
    @property
    def labels(self) -> NDArray[np.uint16]: ...


class Batch(NamedTuple):
    """B drawings as arrays.

    Attributes:
        points: float32 (B, T, C), zero after each drawing's end.
        lengths: int64 (B,), true rows of each.
        labels: int64 (B,).
    """

    points: NDArray[np.float32]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]


def n_points_of(data: Drawings, indices: NDArray[Index]) -> NDArray[np.int32]:
    """Points of each of the drawings `indices` (B,), int32 (B,)."""
    return np.asarray((data.offsets[1:][indices] - data.offsets[indices]).astype(np.int32))


def batch_of(
    data: Drawings,
    indices: NDArray[np.int64],
    label_map: NDArray[np.int64],
    max_padding: int,
    preprocessing: Preprocessing = "delta3",
) -> Batch:
    """The drawings `indices` (B,), as long as the longest of them; `label_map` gives the label of a data label."""
    points, lengths = points_of(data, indices, max_padding, preprocessing)
    return Batch(points, lengths, label_map[data.labels[indices]])


def points_of(
    data: Drawings, indices: NDArray[Index], max_padding: int, preprocessing: Preprocessing = "delta3"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The points float32 (B, T, C) and lengths int64 (B,) of `batch_of`."""
    n_points = n_points_of(data, indices)
    lengths = n_rows(n_points, max_padding, preprocessing).astype(np.int64)
    room = np.empty((3, n_points.max(initial=0)))
    points = np.zeros((len(indices), int(lengths.max(initial=0)), n_channels(preprocessing)), dtype=np.float32)
    fill_points(data.points, data.pen_up, data.offsets, indices.astype(np.int64, copy=False), room, points)
    return points, lengths


def cut(indices: NDArray[Index], batch_size: int) -> list[NDArray[Index]]:
    """Indices in their order, in batches; the last may be short."""
    return [indices[begin : begin + batch_size] for begin in range(0, len(indices), batch_size)]


def shuffled(indices: NDArray[Index], batch_size: int, rng: np.random.Generator) -> list[NDArray[Index]]:
    """Indices in random order, in batches: views of `indices`, which has that order afterwards."""
    rng.shuffle(indices)
    return cut(indices, batch_size)


def shuffled_by_length(
    indices: NDArray[Index],
    n_points: Callable[[NDArray[Index]], NDArray[np.int32]],
    batch_size: int,
    rng: np.random.Generator,
) -> list[NDArray[Index]]:
    """Indices in random batches of similar length, in random order; every index once, at most one short batch.

    Of millions of drawings a copy is large: the batches are views of `indices`, which has another order afterwards.

    Args:
        n_points: gives the points of each of some indices.
    """
    rng.shuffle(indices)
    pool = _POOL_BATCHES * batch_size
    batches: list[NDArray[Index]] = []
    for begin in range(0, len(indices), pool):
        part = indices[begin : begin + pool]
        part[:] = part[np.argsort(n_points(part), kind="stable")]
        batches += cut(part, batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def by_length(indices: NDArray[Index], n_points: NDArray[np.int32], batch_size: int) -> Sequence[NDArray[Index]]:
    """Indices (N,) in order of their points (N,), in batches: the least padding, where the order does not matter."""
    return cut(indices[np.argsort(n_points, kind="stable")], batch_size)


def by_length_of_points(
    indices: NDArray[Index], n_points: NDArray[np.int32], n_together: int
) -> Sequence[NDArray[Index]]:
    """As `by_length`, in batches of about `n_together` points: many short drawings, or few long ones."""
    order = np.argsort(n_points, kind="stable")
    ends = np.cumsum(n_points[order], dtype=np.int64)
    return np.split(indices[order], np.flatnonzero(np.diff(ends // n_together)) + 1)


def rebalanced(
    indices: NDArray[np.int64], labels: NDArray[Any], balance: float, n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`n` drawings (to within one), those of rare classes more often and those of frequent ones less, ascending.

    Args:
        indices: int64 (N,) to take from, ascending.
        labels: (N,), the class of each of them.
        balance: a class of m drawings is taken in proportion to m^(1 - balance).
    """
    if not len(indices):
        return indices
    n_of_class = np.bincount(labels)
    weights = n_of_class[labels].astype(np.float64) ** -balance
    expected = weights * (n / weights.sum())
    # Each drawing as often as expected, rounded up or down, and each class to within one: a random offset, and the
    # drawings of each class in random order.
    order = rng.permutation(len(indices))
    order = order[np.argsort(labels[order], kind="stable")]
    position = np.cumsum(expected[order]) + rng.random()
    times = np.empty(len(indices), dtype=np.int64)
    times[order] = np.diff(np.floor(position), prepend=np.floor(position[0] - expected[order[0]]))
    return np.repeat(indices, times)
