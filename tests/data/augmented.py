"""Strokes, and their points where they are augmented; for the tests of this folder."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from quickstroke.data.augmentation import Augmentation, augmented_points
from quickstroke.data.memory import MemoryDataset
from quickstroke.data.points import to_points

Strokes = list[NDArray[np.uint8]]
Points = NDArray[np.float32]
# A stroke from corner to corner: the bounding box is the same whatever happens inside it.
DIAGONAL = np.array([[0, 0], [255, 255]], np.uint8)

any_strokes = st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(2))), min_size=1, max_size=6)
any_seed = st.integers(0, 2**64 - 1)


def memory(*drawings: Strokes) -> MemoryDataset:
    return MemoryDataset(("a",), [(0, strokes) for strokes in drawings])


def words(n: int, seed: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, n, np.uint64)


def changed(strokes: Strokes, seed: int, **changes: float) -> Points:
    """The points (T, 5) of one drawing, by `pos5`."""
    own = np.array([seed], np.uint64)
    points, lengths = augmented_points(
        memory(strokes), np.array([0]), own, own + np.uint64(1), Augmentation(**changes), 1000, "pos5"
    )
    assert points.shape[1] == lengths[0]
    result: Points = points[0]
    return result


def placed(points: Points) -> list[Any]:
    """The places in a drawing by `pos5`, stroke by stroke."""
    return np.split(points[:, 2:4], np.flatnonzero(points[:, 4])[:-1] + 1)


def near(ours: Any, theirs: Any) -> bool:
    return len(ours) == len(theirs) and np.allclose(ours, theirs, rtol=0, atol=2e-6)


def places(strokes: Strokes) -> list[Any]:
    return placed(to_points(strokes, 1000, "pos5"))


HOUSE: Strokes = [np.array([[0, 90], [10, 255], [200, 240], [210, 100], [0, 90]]), np.array([[0, 90], [99, 0]])]
