"""From a drawing to the points (T, 3) that a model reads: the one preprocessing of training, commands and servers.

It is the 2020 project's, so that its weights keep their meaning. Columns 0 and 1: x and y, each scaled to 0..1 by
the drawing's bounding box (a flat side divides by 1), then first differences. Column 2: 1 at the last point of each
stroke, else 0. The first row is dropped, and the rest is cut to `max_padding` rows.
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

N_CHANNELS = 3
# Written into cards, so that weights say which preprocessing they expect.
PREPROCESSING = "seed3"


@numba.njit(cache=True, nogil=True)
def _rows(points: Any, pen_bits: Any, begin: Any, end: Any, out: Any) -> None:
    """Writes the rows of the points begin..end into `out` (T, 3), at most T of them; the rest stays as it is."""
    x_low: Any = 255
    x_high: Any = 0
    y_low: Any = 255
    y_high: Any = 0
    for i in range(begin, end):
        # numba subtracts unsigned bytes as unsigned words: signed ones from the start.
        x, y = np.int64(points[i, 0]), np.int64(points[i, 1])
        x_low, x_high = min(x_low, x), max(x_high, x)
        y_low, y_high = min(y_low, y), max(y_high, y)
    x_side = np.float32(max(x_high - x_low, 1))
    y_side = np.float32(max(y_high - y_low, 1))
    for t in range(min(end - begin - 1, out.shape[0])):
        i = begin + 1 + t
        out[t, 0] = np.float32(np.int64(points[i, 0]) - np.int64(points[i - 1, 0])) / x_side
        out[t, 1] = np.float32(np.int64(points[i, 1]) - np.int64(points[i - 1, 1])) / y_side
        out[t, 2] = np.float32(pen_bits[i >> 3] >> (i & 7) & 1)


@numba.njit(cache=True, nogil=True)
def fill_points(points: Any, pen_bits: Any, offsets: Any, indices: Any, out: Any) -> None:
    """Writes the points of the drawings `indices` (B,) of a prepared dataset into `out` float32 (B, T, 3), which is 0.

    Args:
        points: uint8 (P, 2) of all drawings.
        pen_bits: uint8, bit i (lowest first) tells whether point i ends a stroke.
        offsets: (N + 1,), drawing i has the points from offsets[i] to offsets[i + 1].
        indices: int64 (B,).
        out: float32 (B, T, 3) of zeros.
    """
    for b in range(indices.size):
        i = indices[b]
        _rows(points, pen_bits, int(offsets[i]), int(offsets[i + 1]), out[b])


def n_rows(n_points: Any, max_padding: int) -> Any:
    """Rows that a drawing of `n_points` points has; a dot has none."""
    return np.clip(n_points - 1, 0, max_padding)


def to_points(strokes: Sequence[NDArray[np.uint8]], max_padding: int = 100) -> NDArray[np.float32]:
    """The points float32 (T, 3) of one simplified drawing, T at most `max_padding`; a dot gives (0, 3).

    Args:
        strokes: uint8 arrays (n, 2) with n at least 1, at least one of them.
        max_padding: rows to keep.
    """
    points = np.concatenate(strokes)
    pen_up = np.zeros(len(points), dtype=np.uint8)
    pen_up[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    out = np.zeros((int(n_rows(len(points), max_padding)), N_CHANNELS), dtype=np.float32)
    _rows(points, np.packbits(pen_up, bitorder="little"), 0, len(points), out)
    return out
