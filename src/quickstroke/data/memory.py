"""Drawings in memory, and parts of drawings, with the arrays that a prepared dataset has."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.data.batches import Drawings, n_points_of
from quickstroke.data.manifest import WIDE_POINTS
from quickstroke.drawings.drawing import Drawing, n_unscaled
from quickstroke.drawings.simplification import simplified_strokes


def from_drawings(drawings: Iterable[Drawing], classes: Sequence[str]) -> tuple["MemoryDataset", Counter[str]]:
    """Drawings in memory, as a dataset that can be evaluated; raw ones are simplified.

    Returns:
        The dataset, ordered by label, then as given; and how many drawings of each other word were left out.

    Raises:
        FormatError: a drawing without strokes, or with strokes that are no (n, 2) arrays.
    """
    position = {word: i for i, word in enumerate(classes)}
    left_out: Counter[str] = Counter()
    kept: list[tuple[int, list[NDArray[np.uint8]]]] = []
    for drawing in drawings:
        if drawing.word in position:
            kept.append((position[drawing.word], simplified_strokes(drawing)))
        else:
            left_out[drawing.word] += 1
    kept.sort(key=lambda item: item[0])
    return MemoryDataset(tuple(classes), kept), left_out


class MemoryDataset:
    """Labelled drawings in memory, with the arrays that a PreparedDataset has."""

    def __init__(self, classes: tuple[str, ...], drawings: Sequence[tuple[int, list[NDArray[np.uint8]]]]) -> None:
        self.classes = classes
        strokes = [stroke for _, drawing in drawings for stroke in drawing]
        lengths = [sum(len(stroke) for stroke in drawing) for _, drawing in drawings]
        labels = np.array([label for label, _ in drawings], dtype=np.uint16)
        points = np.concatenate([np.empty((0, 2), np.uint8), *strokes])
        pen_up = np.zeros(len(points), dtype=np.uint8)
        pen_up[np.cumsum([len(stroke) for stroke in strokes], dtype=np.int64) - 1] = 1
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.points, self.pen_up, self.offsets, self.labels = _excerpt(points, pen_up, offsets, labels)

    def __len__(self) -> int:
        return len(self.labels)


def unscaled_of_some(data: Drawings, n: int) -> tuple[int, int]:
    """How many of at most `n` drawings from all over a dataset are `n_unscaled`, and how many these are."""
    n_all = len(data.labels)
    indices = np.linspace(0, n_all - 1, min(n, n_all)).astype(np.int64)
    at, offsets, _ = gathered(data, indices, n_points_of(data, indices))
    return n_unscaled(data.points[at], offsets[:-1]), len(indices)


def first_points(data: Drawings, indices: NDArray[np.int64], fraction: float) -> "Excerpt":
    """The first part of each of the drawings `indices` (N,): a fraction of its points, rounded up.

    The last of these points ends a stroke, as in what a program sends while somebody is drawing.
    """
    return _first(data, indices, np.maximum(np.ceil(n_points_of(data, indices) * fraction), 1).astype(np.int32))


def first_strokes(data: Drawings, indices: NDArray[np.int64], fraction: float) -> "Excerpt":
    """The first part of each of the drawings `indices` (N,): a fraction of its strokes, rounded up."""
    n_points = n_points_of(data, indices)
    _, offsets, pen_up = gathered(data, indices, n_points)
    begins = offsets[:-1]
    n_strokes = np.add.reduceat(pen_up, begins, dtype=np.int64)
    # Rounded first: 0.6 of 5 strokes is 3, whatever its last digit.
    n_kept = np.maximum(np.ceil(np.round(n_strokes * fraction, 6)), 1)
    number = np.cumsum(pen_up, dtype=np.int64) - pen_up  # of each point's stroke, counted over all drawings
    is_kept = number - np.repeat(number[begins], n_points) < np.repeat(n_kept, n_points)
    return _first(data, indices, np.add.reduceat(is_kept, begins, dtype=np.int32))


def _first(data: Drawings, indices: NDArray[np.int64], n_points: NDArray[np.int32]) -> "Excerpt":
    """The first so many points of each drawing; the last of them ends a stroke."""
    at, offsets, pen_up = gathered(data, indices, n_points)
    pen_up[offsets[1:] - 1] = 1
    return _excerpt(data.points[at], pen_up, offsets, data.labels[indices])


def gathered(
    data: Drawings, indices: NDArray[np.int64], n_points: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Of the first so many points of each drawing (N,): where they are in `data` (P,), where each drawing begins among
    these (N + 1,), and whether they end a stroke, 0 or 1 (P,)."""
    offsets = np.concatenate([[0], np.cumsum(n_points, dtype=np.int64)])
    begins = data.offsets[indices].astype(np.int64)
    at = np.repeat(begins - offsets[:-1], n_points) + np.arange(offsets[-1])
    return at, offsets, data.pen_up[at >> 3] >> (at & 7).astype(np.uint8) & 1


class Excerpt(NamedTuple):
    """Some drawings, as arrays that a PreparedDataset has."""

    points: NDArray[np.uint8]
    pen_up: NDArray[np.uint8]
    offsets: NDArray[Any]
    labels: NDArray[np.uint16]


def _excerpt(
    points: NDArray[np.uint8], pen_up: NDArray[np.uint8], offsets: NDArray[np.int64], labels: NDArray[np.uint16]
) -> Excerpt:
    """Of the types that a dataset's files have, read-only as these are: compiled code is then the same for both.

    Args:
        pen_up: uint8 (P,), 1 where a stroke ends, else 0.
    """
    kind = np.uint32 if offsets[-1] < WIDE_POINTS else np.uint64
    excerpt = Excerpt(points, np.packbits(pen_up, bitorder="little"), offsets.astype(kind), labels)
    for array in excerpt:
        array.flags.writeable = False
    return excerpt
