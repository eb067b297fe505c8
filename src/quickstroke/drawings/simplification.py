"""Raw pen strokes -> the simplified form in which Google publishes Quick, Draw!.

The recipe is public (https://github.com/googlecreativelab/quickdraw-dataset, "Simplified Drawing files"):
align the drawing to the top left, scale it to a maximum of 255, resample the strokes at a spacing of 1,
simplify them by Ramer-Douglas-Peucker with an epsilon of 2. What it leaves open was found with drawings that
are published both raw and simplified. The samples of a level part are all equally far from a chord, so which
of them stays hangs on the last bit:

- everything is float64, and a coordinate is scaled as (x - low) * 255 / extent, in this order;
- sample k lies at the arc length k from the stroke's beginning, at (1 - t) * a + t * b between two points;
- the last point follows as a sample of its own, always, so a dot gives two equal points;
- the distance is that to the infinite line through the chord's ends, or to their point where they coincide,
  and the first of the farthest samples stays if it is strictly farther than epsilon;
- only what stays is rounded, halves to even.

Samples are computed when they are looked at and never stored, so memory grows with the points given and not
with the way between them. The signed distances of a line's samples lie between those of its first and last
one; only where these are equal but for rounding has each to be looked at.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.drawings.drawing import Drawing, check_simplified
from quickstroke.drawings.layouts import Layout, arrays_of
from quickstroke.errors import FormatError
from quickstroke.utils.compiled import FEW_STEPS, jit

# https://github.com/googlecreativelab/quickdraw-dataset, "Simplified Drawing files"; the spacing is always 1.
SIDE = 255.0
EPSILON = 2.0
# Ramer-Douglas-Peucker can take quadratic time. So many looks at lines and samples take less than a second; a
# drawing of the game takes some thousand.
MAX_LOOKS = 300_000_000
# Python, or a thread that others wait for, is given a drawing that takes no more.
FEW_LOOKS = 20_000
# Rounding moves a distance by less than 1e-12: what rises by more than this a sample rises at every sample.
_SLACK = 1e-9
# Beyond it, 255 times a difference of two coordinates could leave float64.
_HUGE = 1e300
# Columns of a line, a part of a stroke that holds samples: its ends a and b, the arc length at a, the length
# from a to b; its first and its last sample.
_AX, _AY, _BX, _BY, _ARC, _LENGTH, _FIRST_X, _FIRST_Y, _LAST_X, _LAST_Y = range(10)


@jit(steps=lambda *_: 0)
def _sample(lines: Any, line: int, k: int) -> tuple[float, float]:
    """Where sample `k` of a stroke lies, which is on `line`."""
    t = (k - lines[line, _ARC]) / lines[line, _LENGTH]
    return (
        (1.0 - t) * lines[line, _AX] + t * lines[line, _BX],
        (1.0 - t) * lines[line, _AY] + t * lines[line, _BY],
    )


@jit(steps=lambda *_: 0)
def _lines(stroke: Any) -> tuple[Any, Any]:
    """The lines of a stroke (n, 2) that hold samples, at most n + 1 of them.

    Returns:
        (float64 (R, 10) with the columns above, int64 (R + 1,): line r holds the samples from first[r] to
        first[r + 1]). The first and the last line hold the stroke's first and last point alone.
    """
    n = len(stroke)
    lines = np.empty((n + 1, 10))
    first = np.empty(n + 2, np.int64)
    lines[0, _AX], lines[0, _AY] = lines[0, _BX], lines[0, _BY] = stroke[0, 0], stroke[0, 1]
    lines[0, _ARC], lines[0, _LENGTH] = 0.0, 1.0
    first[0], first[1] = 0, 1
    r, arc = 1, 0.0
    for i in range(1, n):
        dx, dy = stroke[i, 0] - stroke[i - 1, 0], stroke[i, 1] - stroke[i - 1, 1]
        length = np.sqrt(dx * dx + dy * dy)
        end = int(np.floor(arc + length)) + 1
        if end > first[r]:
            lines[r, _AX], lines[r, _AY] = stroke[i - 1, 0], stroke[i - 1, 1]
            lines[r, _BX], lines[r, _BY] = stroke[i, 0], stroke[i, 1]
            lines[r, _ARC], lines[r, _LENGTH] = arc, length
            r += 1
            first[r] = end
        arc += length
    lines[r, _AX], lines[r, _AY] = lines[r, _BX], lines[r, _BY] = stroke[n - 1, 0], stroke[n - 1, 1]
    lines[r, _ARC], lines[r, _LENGTH] = first[r], 1.0
    r += 1
    first[r] = first[r - 1] + 1
    for line in range(r):
        lines[line, _FIRST_X], lines[line, _FIRST_Y] = _sample(lines, line, first[line])
        lines[line, _LAST_X], lines[line, _LAST_Y] = _sample(lines, line, first[line + 1] - 1)
    return lines[:r], first[: r + 1]


@jit(steps=lambda *_: 0)
def _farthest(lines: Any, first: Any, a: int, a_line: int, b: int, b_line: int) -> tuple[float, int, int, int]:
    """The first of the samples between `a` and `b` that are farthest from the line through those two.

    Returns:
        (its distance, the sample, the line it is on, looks taken); distance -1 where none is in between.
    """
    ax, ay = _sample(lines, a_line, a)
    bx, by = _sample(lines, b_line, b)
    dx, dy = bx - ax, by - ay
    base = np.sqrt(dx * dx + dy * dy)
    best, best_k, best_line, looks = -1.0, a, a_line, 1 + b_line - a_line
    for line in range(a_line, b_line + 1):
        begin, end = max(first[line], a + 1), min(first[line + 1], b) - 1
        if begin > end:
            continue
        px, py = lines[line, _FIRST_X], lines[line, _FIRST_Y]
        if begin != first[line]:
            px, py = _sample(lines, line, begin)
        qx, qy = lines[line, _LAST_X], lines[line, _LAST_Y]
        if end != first[line + 1] - 1:
            qx, qy = _sample(lines, line, end)
        px, py, qx, qy = px - ax, py - ay, qx - ax, qy - ay
        if base == 0.0:
            at_begin, at_end, level = np.sqrt(px * px + py * py), np.sqrt(qx * qx + qy * qy), False
        else:
            at_begin, at_end = (px * dy - py * dx) / base, (qx * dy - qy * dx) / base
            level = abs(at_begin - at_end) <= _SLACK * (end - begin)
            at_begin, at_end = abs(at_begin), abs(at_end)
        if at_begin > best:
            best, best_k, best_line = at_begin, begin, line
        if level and at_begin > best - 2 * _SLACK * (end - begin + 1):
            looks += end - begin
            for k in range(begin + 1, end):
                x, y = _sample(lines, line, k)
                distance = abs((x - ax) * dy - (y - ay) * dx) / base
                if distance > best:
                    best, best_k, best_line = distance, k, line
        if at_end > best:
            best, best_k, best_line = at_end, end, line
    return best, best_k, best_line, looks


@jit(steps=lambda points, offsets, max_looks: 30 * len(points) if max_looks <= FEW_LOOKS else FEW_STEPS + 1)
def simplify_points(points: Any, offsets: Any, max_looks: int) -> tuple[Any, Any]:
    """Simplifies a drawing, float64 (P, 2), whose stroke i has the points from offsets[i] to offsets[i + 1].

    Returns:
        (uint8 (Q, 2), the offsets of the strokes therein); Q is 0 where it would take more than `max_looks`.
    """
    low_x, low_y, high_x, high_y = points[0, 0], points[0, 1], points[0, 0], points[0, 1]
    for i in range(len(points)):
        low_x, high_x = min(low_x, points[i, 0]), max(high_x, points[i, 0])
        low_y, high_y = min(low_y, points[i, 1]), max(high_y, points[i, 1])
    extent = max(high_x - low_x, high_y - low_y)
    scaled = np.zeros_like(points)
    if extent > 0.0:
        for i in range(len(points)):
            scaled[i, 0] = (points[i, 0] - low_x) * SIDE / extent
            scaled[i, 1] = (points[i, 1] - low_y) * SIDE / extent

    kept = [(0.0, 0.0) for _ in range(0)]
    kept_offsets = np.zeros_like(offsets)
    looks = 0
    for stroke in range(len(offsets) - 1):
        lines, first = _lines(scaled[offsets[stroke] : offsets[stroke + 1]])
        last_line = len(lines) - 1
        kept.append(_sample(lines, 0, 0))
        parts = [(0, 0, first[last_line], last_line)]
        while parts:
            a, a_line, b, b_line = parts.pop()
            distance, k, line, more_looks = _farthest(lines, first, a, a_line, b, b_line)
            looks += more_looks
            if looks > max_looks:
                return np.empty((0, 2), np.uint8), kept_offsets
            if distance > EPSILON:
                parts.append((k, line, b, b_line))
                parts.append((a, a_line, k, line))
            else:
                kept.append(_sample(lines, b_line, b))
        kept_offsets[stroke + 1] = len(kept)

    out = np.empty((len(kept), 2), np.uint8)
    for i in range(len(kept)):
        out[i, 0], out[i, 1] = np.uint8(np.rint(kept[i][0])), np.uint8(np.rint(kept[i][1]))
    return out, kept_offsets


def gather(strokes: Iterable[ArrayLike], layout: str = "auto") -> tuple[NDArray[np.float64], NDArray[np.int64], Layout]:
    """All points of a drawing, float64 (P, 2), the offsets of its strokes therein, int64, and the layout they were in.

    Raises:
        FormatError, ConfigError: as `arrays_of`.
    """
    arrays, read = arrays_of(strokes, layout)
    offsets = np.array([0, *accumulate(map(len, arrays))], np.int64)
    points = np.concatenate([array[:, :2] for array in arrays], out=np.empty((offsets[-1], 2)))
    return points, offsets, read


def simplify(strokes: Iterable[ArrayLike], *, layout: str = "auto") -> list[NDArray[np.uint8]]:
    """A drawing as Google simplifies it: every stroke keeps its ends and the points that shape it.

    Where the drawing lies and how large it is does not matter, but for rounding. Every stroke has at least
    two points, a dot two equal ones; a drawing that is all one point becomes (0, 0). The smallest coordinate
    is mostly 0 and the largest 255; where a stroke turns sharply or is round there, what stays of it may fall
    short.

    A drawing that is simplified already would be scaled and sampled anew: most of its points move,
    by some two units and seldom more, and some go. Leave it as it is.

    Args:
        strokes: at least one stroke, each (n, 2) or (n, 3) with n at least 1: x, y and perhaps a time, which
            is not looked at; or each (2, n) or (3, n), as Google's files have them. Finite numbers in any unit, y
            growing downwards.
        layout: `points`, [[x, y], ..], or `columns`, [[x..], [y..]]; `auto` sees which it is, and reads points where
            every stroke has two or three rows of two or three numbers (`layout_of` tells).

    Returns:
        One uint8 array (m, 2) a stroke, x and y from 0 to 255, all of them views of one array.

    Raises:
        FormatError: no stroke, a stroke without points, something that is no array of points, strokes in both
            layouts, a number that is not finite, or so many windings that they would take too long.
            `strokes[i][j]` counts from 0, and points by j.
        ConfigError: `layout` is none of these.

    Source: https://github.com/googlecreativelab/quickdraw-dataset, "Simplified Drawing files", and the text
    at the top of this module.
    """
    points, offsets, _ = gather(strokes, layout)
    return simplify_gathered(points, offsets)


def simplify_gathered(points: NDArray[np.float64], offsets: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """As `simplify`, of what `gather` gives; `points` may be overwritten.

    Raises:
        FormatError: a number that is not finite, or too many windings.
    """
    magnitude = np.abs(points).max()
    if not np.isfinite(magnitude):
        at = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        stroke = int(np.searchsorted(offsets, at, side="right")) - 1
        x, y = points[at].tolist()
        raise FormatError(f"strokes[{stroke}][{at - int(offsets[stroke])}] is at ({x}, {y}); expected finite numbers")
    if magnitude > _HUGE:
        points *= 2.0**-10
    kept, ends = simplify_points(points, offsets, FEW_LOOKS)
    if not len(kept):
        kept, ends = simplify_points(points, offsets, MAX_LOOKS)
    if not len(kept):
        raise FormatError(
            f"the drawing has {len(points)} points that wind so much that simplifying it takes more than "
            f"{MAX_LOOKS} steps; expected what a hand can draw"
        )
    return [kept[begin:end] for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]


def simplified_strokes(drawing: Drawing) -> list[NDArray[np.uint8]]:
    """The strokes, uint8 (n, 2) with n at least 1, of a drawing in either form.

    Raises:
        FormatError: there are none, or an empty one; or as `simplify`.
    """
    if drawing.is_simplified:
        check_simplified(drawing)
        return cast(list[NDArray[np.uint8]], list(drawing.strokes))
    return simplify(drawing.strokes)
