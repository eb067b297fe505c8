"""Bodies of one drawing, read and simplified by compiled code in the event loop's own thread.

It takes what most clients send. Whatever else there is, wrong, rare or long, it leaves to `bodies.take`, which tells
what is wrong; what both take they read alike.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from quickstroke.drawings.simplification import FEW_LOOKS, simplify_points
from quickstroke.formats import scanning
from quickstroke.formats.scanning import (
    AUTO,
    CLOSE,
    COLON,
    COLUMNS,
    COMMA,
    LF,
    NOWHERE,
    OPEN,
    layout_of,
    number,
    past,
    past_spaces,
    points_of,
    strokes,
)
from quickstroke.serve.bodies import Asked
from quickstroke.serve.limits import Limits
from quickstroke.utils.compiled import jit

# Longer ones would keep the other clients waiting.
_MOST_BYTES = 1 << 16
_EXAMPLE = b'{"strokes":[[[0,9,3],[0,5,3]]]}'
# The names of values; what the first three ask for is kept by their numbers, and layouts have those of `scanning`.
_SIMPLIFIED, _TOP, _LAYOUT, _STROKES, _WORDS = range(5)
_NAMES, _LAYOUTS, _BOOLS = (
    tuple(np.frombuffer(text.encode(), np.uint8) for text in texts)
    for texts in (
        ('"simplified"', '"top"', '"layout"', '"strokes"', '"words"'),
        ('"auto"', '"points"', '"columns"'),
        ("false", "true"),
    )
)
_NULL = np.frombuffer(b"null", np.uint8)


@jit()
def _which(texts: Any, data: Any, at: Any) -> tuple[int, int]:
    """Which of some texts begins at `at`, and the place after it, NOWHERE where none does."""
    for i in range(len(texts)):
        end = past(texts[i], data, at)
        if end != NOWHERE:
            return i, end
    return 0, NOWHERE


@jit()
def _read_object(data: Any, found: Any, asked: Any) -> Any:
    """Reads a body, with a line end after it; whether it is one that is known here."""
    asked[_SIMPLIFIED], asked[_TOP], asked[_LAYOUT] = 0, 5, AUTO
    at, seen = past_spaces(data, 0), 0
    if data[at] != OPEN:
        return False
    while True:
        name, at = _which(_NAMES, data, past_spaces(data, at + 1))
        if at == NOWHERE or seen & (1 << name):
            return False
        seen |= 1 << name
        at = past_spaces(data, at)
        if data[at] != COLON:
            return False
        at = past_spaces(data, at + 1)
        if name == _STROKES:
            at = strokes(data, at, found)
        elif name == _TOP:
            value, at = number(data, at)
            asked[_TOP] = np.int64(value)
            if value < 1 or value != asked[_TOP]:
                return False
        elif name == _SIMPLIFIED:
            asked[_SIMPLIFIED], at = _which(_BOOLS, data, at)
        elif name == _LAYOUT:
            asked[_LAYOUT], at = _which(_LAYOUTS, data, at)
        else:
            at = past(_NULL, data, at)
        if at == NOWHERE:
            return False
        at = past_spaces(data, at)
        if data[at] != COMMA:
            break
    if data[at] != CLOSE or not seen & (1 << _STROKES):
        return False
    at = past_spaces(data, at + 1)
    return data[at] == LF and at == len(data) - 1


@jit()
def _read(data: Any, found: Any, asked: Any, most_strokes: Any, most_points: Any) -> tuple[Any, Any]:
    """A drawing in simplified form, points uint8 (Q, 2) and the offsets of its strokes; Q is 0 of what is not known.

    Args:
        data: uint8, a body with a line end after it.
        found: memory, a `scanning.Found`.
        asked: int64 (3,); gets whether the drawing is simplified, how many words are asked for, and the layout.
        most_strokes, most_points: of a drawing.
    """
    nothing = np.empty((0, 2), np.uint8), np.zeros(1, np.int64)
    if not _read_object(data, found, asked):
        return nothing
    asked[_LAYOUT], size = layout_of(found, asked[_LAYOUT])
    if size == 0 or found.facts[4] > most_strokes:
        return nothing
    points, offsets = points_of(found, asked[_LAYOUT], size)
    if len(points) > most_points:
        return nothing
    if not asked[_SIMPLIFIED]:
        return simplify_points(points, offsets, FEW_LOOKS)
    kept = np.empty(points.shape, np.uint8)
    for i in range(len(points)):
        for j in range(2):
            if not 0 <= points[i, j] <= 255 or points[i, j] != np.floor(points[i, j]):
                return nothing
            kept[i, j] = points[i, j]
    return kept, offsets


class QuickReader:
    """Reads bodies, one at a time, once it is compiled."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._found, self._asked = scanning.memory(), np.zeros(3, np.int64)
        self._is_compiled = False

    def compile(self) -> None:
        """Compiles it, or loads what is kept on disk."""
        asked = self._take(_EXAMPLE)  # not within the assert, which -O leaves out
        assert asked is not None
        self._is_compiled = True

    def take(self, body: bytes | bytearray) -> Asked | None:
        """What a request asks for; None of what `bodies.take` has to look at."""
        return self._take(body) if self._is_compiled and len(body) <= _MOST_BYTES else None

    def _take(self, body: bytes | bytearray) -> Asked | None:
        data = np.frombuffer(b"".join((body, b"\n")), np.uint8)
        points, offsets = _read(data, self._found, self._asked, self._limits.strokes, self._limits.points)
        if not len(points):
            return None
        _, top, layout = self._asked.tolist()
        ends = offsets.tolist()
        drawing = [points[begin:end] for begin, end in pairwise(ends)]
        return Asked([(drawing, "columns" if layout == COLUMNS else "points")], top, None)
