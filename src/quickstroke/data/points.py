"""From a drawing to the points (T, C) that a model reads: the one preprocessing of training, commands and servers.

A card says which of two its weights expect:

    delta3  that of the 2020 project, so that its weights keep their meaning. Columns 0 and 1: x and y, each scaled to
           0..1 by the drawing's bounding box (a flat side divides by 1), then first differences. Column 2: 1 at the
           last point of each stroke, else 0. The first row is dropped.
    pos5   columns 0 and 1: first differences of x and y, 0 in the first row; columns 2 and 3: x and y from the middle
           of the bounding box. All are divided by the longer side of the box (a dot divides by 1), so the drawing keeps
           its aspect ratio. Column 4: 1 at the last point of each stroke, else 0. Every point has a row.

Both are cut to `max_padding` rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.config.model import Preprocessing
from quickstroke.utils.compiled import jit


def n_channels(preprocessing: Preprocessing) -> int:
    """Columns C of the points."""
    return {"delta3": 3, "pos5": 5}[preprocessing]


def n_rows(n_points: Any, max_padding: int, preprocessing: Preprocessing = "delta3") -> Any:
    """Rows that a drawing of `n_points` points has; by `delta3` a dot has none."""
    return np.clip(n_points - (preprocessing == "delta3"), 0, max_padding)


@jit(steps=lambda x, y, pen_up, out: 2 * len(x))
def fill_rows(x: Any, y: Any, pen_up: Any, out: Any) -> Any:
    """Writes the rows of one drawing into `out` float32 (T, 3 or 5), at most T of them, and returns how many.

    The drawing has coordinates `x` and `y`, float64 (n,), whole numbers for a simplified one, and 1 in `pen_up` (n,)
    where a stroke ends. The number of columns says which preprocessing is meant.
    """
    n = len(x)
    x_low, x_high, y_low, y_high = x[0], x[0], y[0], y[0]
    for i in range(1, n):
        x_low, x_high = x[i] if x[i] < x_low else x_low, x[i] if x[i] > x_high else x_high
        y_low, y_high = y[i] if y[i] < y_low else y_low, y[i] if y[i] > y_high else y_high
    x_side, y_side = max(x_high - x_low, 1.0), max(y_high - y_low, 1.0)
    # Whole numbers divided in float64 and then rounded are what float32 gives: storing rounds.
    if out.shape[1] == 3:
        n_out = min(n - 1, out.shape[0])
        for t in range(n_out):
            out[t, 0] = (x[t + 1] - x[t]) / x_side
            out[t, 1] = (y[t + 1] - y[t]) / y_side
            out[t, 2] = pen_up[t + 1]
        return n_out
    side = max(x_side, y_side)
    n_out = min(n, out.shape[0])
    for t in range(n_out):
        before = max(t - 1, 0)
        out[t, 0] = (x[t] - x[before]) / side
        out[t, 1] = (y[t] - y[before]) / side
        out[t, 2] = (2 * x[t] - x_low - x_high) / (2 * side)
        out[t, 3] = (2 * y[t] - y_low - y_high) / (2 * side)
        out[t, 4] = pen_up[t]
    return n_out


@jit()
def unpack(points: Any, pen_bits: Any, begin: Any, end: Any, x: Any, y: Any, pen_up: Any) -> None:
    """Writes the points begin..end of a prepared dataset into `x`, `y` float64 and `pen_up`, (end - begin,) each."""
    for i in range(begin, end):
        x[i - begin], y[i - begin] = points[i, 0], points[i, 1]
        pen_up[i - begin] = pen_bits[i >> 3] >> (i & 7) & 1


@jit()
def fill_points(points: Any, pen_bits: Any, offsets: Any, indices: Any, room: Any, out: Any) -> None:
    """Writes the points of the drawings `indices` (B,) of a prepared dataset into `out` float32 (B, T, C), which is 0.

    Args:
        points: uint8 (P, 2) of all drawings.
        pen_bits: uint8, bit i (lowest first) tells whether point i ends a stroke.
        offsets: (N + 1,), drawing i has the points from offsets[i] to offsets[i + 1].
        indices: int64 (B,).
        room: float64 (3, P), for the P points of the longest of them.
        out: float32 (B, T, C) of zeros, with the C of the preprocessing that is meant.
    """
    x, y, pen_up = room[0], room[1], room[2]
    for b in range(indices.size):
        # numba makes a float of a signed and an unsigned word: signed ones from the start.
        begin, end = np.int64(offsets[indices[b]]), np.int64(offsets[indices[b] + 1])
        n = end - begin
        unpack(points, pen_bits, begin, end, x, y, pen_up)
        fill_rows(x[:n], y[:n], pen_up[:n], out[b])


def to_points(
    strokes: Sequence[NDArray[np.uint8]], max_padding: int = 100, preprocessing: Preprocessing = "delta3"
) -> NDArray[np.float32]:
    """The points float32 (T, C) of one simplified drawing, T at most `max_padding`.

    Args:
        strokes: uint8 arrays (n, 2) with n at least 1, at least one of them.
        max_padding: rows to keep.
        preprocessing: which columns there are.
    """
    # Contiguous, as the rows of a dataset are: one compiled version serves both.
    x, y = np.concatenate(strokes).T.astype(np.float64, order="C")
    pen_up = np.zeros(len(x))
    end = -1
    for stroke in strokes:
        end += len(stroke)
        pen_up[end] = 1
    out = np.zeros((min(len(x), max_padding), n_channels(preprocessing)), dtype=np.float32)
    return out[: fill_rows(x, y, pen_up, out)]
