"""Drawings to make pictures of; for the tests of this folder."""

import numpy as np

from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic import synthetic_drawings


def simplified(*strokes: list[list[int]], word: str = "cat") -> Drawing:
    return Drawing(word, [np.array(stroke, np.uint8) for stroke in strokes])


CAT = simplified([[0, 0], [255, 0], [255, 100]], [[40, 60]], [[10, 20], [10, 20], [30, 100], [20, 20]])
# Three seconds on a line, one in the air, and a dot.
RAW = Drawing(
    "dog",
    [np.array([[100.0, 50.0], [400.5, 50.0], [400.5, 250.0]]), np.array([[200.0, 100.0]])],
    times_ms=[np.array([0.0, 1000.0, 3000.0]), np.array([4000.0])],
)
HUGE = Drawing("huge", [np.array([[-1e308, 0.0], [1e308, 1e308]])])


def golden_drawings() -> list[Drawing]:
    """Synthetic drawings, and some that no one draws well: a dot, a level line, sharp turns, windings."""
    spiral = [(128 + r * np.cos(r), 128 + r * np.sin(r)) for r in np.linspace(0, 127, 130)]
    by_hand = [
        simplified([[0, 0]]),
        simplified([[0, 0], [255, 0]]),
        simplified([[0, 0], [255, 3], [0, 6], [255, 9], [0, 255]], [[200, 200], [200, 200]]),
        simplified(np.rint(spiral).astype(int).tolist()),
    ]
    return [*synthetic_drawings(2, seed=3, words=("house", "star", "circle")), *by_hand]
