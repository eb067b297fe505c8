"""The lines of an SVG's shapes: path data with all its commands, basic shapes and transforms, and curves made lines.

Each line is a chain of cubic Bezier curves, as float64 (3 S + 1, 2) for S curves: a point, and three more for each
curve. A transform maps a chain by its points, and any other curve of SVG can be written as one. The grammar and the
arithmetic of arcs are those of SVG 1.1 (w3.org/TR/SVG11/paths.html, appendix F.6).
"""

import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from quickstroke.errors import FormatError, shown

Floats = NDArray[np.float64]
# (x, y) becomes (a x + c y + e, b x + d y + f).
Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)

# How far a line may be from the curve that it stands for, of the longer side of the drawing: an eighth of what
# simplification lets go.
TOLERANCE = 0.001
MAX_POINTS = 100_000
_AT_A_TIME = 1000  # curves, which takes little memory
# Of a number in an attribute: what is computed with it stays finite.
_MOST = 1e15

_GAP = r"[\s,]*"
_NUMBER = re.compile(_GAP + r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_FLAG = re.compile(_GAP + "([01])")
_COMMAND = re.compile(_GAP + "([MmZzLlHhVvCcSsQqTtAa])")
_FUNCTION = re.compile(_GAP + r"(matrix|translate|scale|rotate|skewX|skewY)\s*\(")
_END = re.compile(_GAP + r"\)")
_REST = re.compile(_GAP)
_LENGTH = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(px|pt|pc|mm|cm|in|)\s*", re.ASCII)
# Of CSS, w3.org/TR/css-values-3/#absolute-lengths.
_UNITS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}


class _Scanner:
    """Reads an attribute from left to right."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.at = text, name, 0

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """What the pattern matches here, which is then behind; else None."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[match.lastindex or 0]

    def number(self) -> float:
        text = self.take(_NUMBER)
        if text is None:
            self.refuse("a number")
        if abs(value := float(text)) > _MOST:
            raise FormatError(f"{self.name!r} has the number {shown(text)}; expected at most {_MOST:g}")
        return value

    def flag(self) -> bool:
        text = self.take(_FLAG)
        return text == "1" if text is not None else self.refuse("0 or 1")

    def has_number(self) -> bool:
        return _NUMBER.match(self.text, self.at) is not None

    def is_at_end(self) -> bool:
        self.take(_REST)
        return self.at == len(self.text)

    def refuse(self, expected: str) -> NoReturn:
        self.take(_REST)
        got = shown(self.text[self.at : self.at + 20]) if self.at < len(self.text) else "its end"
        raise FormatError(f"{self.name!r} has {got} at character {self.at + 1}; expected {expected}")


class _Pen:
    """Draws chains of curves."""

    def __init__(self) -> None:
        self.chains: list[array[float]] = []
        self.x = self.y = self.x0 = self.y0 = 0.0
        # The last control point, where the last curve was a cubic or a quadratic one.
        self.cubic: tuple[float, float] | None = None
        self.quadratic: tuple[float, float] | None = None
        # Whether it draws, or has moved and not drawn since.
        self._is_down = self._is_moved = False

    def move(self, x: float, y: float) -> None:
        self._is_down, self._is_moved = False, True
        self.x, self.y, self.x0, self.y0 = x, y, x, y
        self.cubic = self.quadratic = None

    def dot(self) -> None:
        """Where the pen was only put down, that is a dot, as programs write one, though browsers show nothing; at the
        origin it is a path without anything."""
        if self._is_moved and not self.chains and (self.x or self.y):
            self.line(self.x, self.y)

    def line(self, x: float, y: float) -> None:
        dx, dy = (x - self.x) / 3, (y - self.y) / 3
        self.curve(self.x + dx, self.y + dy, x - dx, y - dy, x, y)
        self.cubic = None

    def curve(self, x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> None:
        if not self._is_down:
            self.chains.append(array("d", (self.x, self.y)))
            self.x0, self.y0 = self.x, self.y
            self._is_down = True
        self.chains[-1].extend((x1, y1, x2, y2, x, y))
        self.x, self.y = x, y
        self.cubic, self.quadratic = (x2, y2), None

    def quad(self, x1: float, y1: float, x: float, y: float) -> None:
        x0, y0 = self.x, self.y
        self.curve(x0 + (x1 - x0) * 2 / 3, y0 + (y1 - y0) * 2 / 3, x + (x1 - x) * 2 / 3, y + (y1 - y) * 2 / 3, x, y)
        self.cubic, self.quadratic = None, (x1, y1)

    def arc(self, rx: float, ry: float, degrees: float, large: bool, sweep: bool, x: float, y: float) -> None:
        """Part of an ellipse, in pieces of a quarter at most, each off by less than 0.0003 of the radius."""
        rx, ry = abs(rx), abs(ry)
        x0, y0 = self.x, self.y
        if (x, y) == (x0, y0):
            return
        if not rx or not ry:
            self.line(x, y)
            return
        cos, sin = math.cos(math.radians(degrees % 360)), math.sin(math.radians(degrees % 360))
        hx, hy = (x0 - x) / 2, (y0 - y) / 2
        px, py = (cos * hx + sin * hy) / rx, (cos * hy - sin * hx) / ry
        far = px * px + py * py
        if not math.isfinite(far):
            raise FormatError("'d' has an arc whose radius is too small")
        if far > 1:  # radii that are too small grow
            rx, ry, px, py = rx * math.sqrt(far), ry * math.sqrt(far), px / math.sqrt(far), py / math.sqrt(far)
            far = 1.0
        # The middle of the circle of radius 1 that the ellipse is made, and the angles of both ends there.
        off = math.sqrt(max(1 / far - 1, 0.0)) * (-1 if large == sweep else 1) if far else 0.0
        mx, my = off * py, -off * px
        begin, end = math.atan2(py - my, px - mx), math.atan2(-py - my, -px - mx)
        turn = (end - begin) % (2 * math.pi) - (0 if sweep else 2 * math.pi)
        cx, cy = (x0 + x) / 2 + cos * rx * mx - sin * ry * my, (y0 + y) / 2 + sin * rx * mx + cos * ry * my

        def at(u: float, v: float) -> tuple[float, float]:
            return cx + cos * rx * u - sin * ry * v, cy + sin * rx * u + cos * ry * v

        n = max(math.ceil(abs(turn) / (math.pi / 2) - 1e-9), 1)
        k = 4 / 3 * math.tan(turn / n / 4)
        for i in range(n):
            a, b = begin + turn * i / n, begin + turn * (i + 1) / n
            one = at(math.cos(a) - k * math.sin(a), math.sin(a) + k * math.cos(a))
            two = at(math.cos(b) + k * math.sin(b), math.sin(b) - k * math.cos(b))
            self.curve(*one, *two, *(at(math.cos(b), math.sin(b)) if i + 1 < n else (x, y)))
        self.cubic = None

    def close(self) -> None:
        if self._is_down and (self.x, self.y) != (self.x0, self.y0):
            self.line(self.x0, self.y0)
        elif self._is_moved and not self._is_down:  # a dot
            self.chains.append(array("d", (self.x, self.y)))
        self.move(self.x0, self.y0)
        self._is_moved = False


def _path(pen: _Pen, data: str) -> None:
    scan = _Scanner(data, "d")
    is_first = True
    while not scan.is_at_end():
        letter = scan.take(_COMMAND) or scan.refuse("a command")
        kind = letter.upper()
        if is_first and kind != "M":
            raise FormatError(f"'d' begins with {letter!r}; expected 'M' or 'm'")
        is_first = False
        if kind == "Z":
            pen.close()
            continue
        is_more = True
        while is_more:
            _command(pen, scan, kind, letter.islower())
            kind = "L" if kind == "M" else kind
            is_more = scan.has_number()
    pen.dot()


def _command(pen: _Pen, scan: _Scanner, kind: str, is_relative: bool) -> None:
    """One command of path data, whose letter is behind already."""
    ox, oy = (pen.x, pen.y) if is_relative else (0.0, 0.0)

    def points(n: int) -> list[float]:
        return [scan.number() + (oy if i % 2 else ox) for i in range(2 * n)]

    match kind:
        case "M":
            pen.move(*points(1))
        case "L":
            pen.line(*points(1))
        case "H":
            pen.line(ox + scan.number(), pen.y)
        case "V":
            pen.line(pen.x, oy + scan.number())
        case "C":
            pen.curve(*points(3))
        case "S":
            x, y = pen.cubic or (pen.x, pen.y)
            pen.curve(2 * pen.x - x, 2 * pen.y - y, *points(2))
        case "Q":
            pen.quad(*points(2))
        case "T":
            x, y = pen.quadratic or (pen.x, pen.y)
            pen.quad(2 * pen.x - x, 2 * pen.y - y, *points(1))
        case _:
            pen.arc(scan.number(), scan.number(), scan.number(), scan.flag(), scan.flag(), *points(1))


def chains_of(name: str, attributes: Mapping[str, str]) -> list[Floats]:
    """The lines of a shape in its own coordinates; none of one without a size, or with a size in percent.

    Raises:
        FormatError: an attribute that cannot be read; with the place in it.
    """
    pen = _Pen()
    if name == "path":
        _path(pen, attributes.get("d", ""))
    elif name in ("polyline", "polygon"):
        _poly(pen, attributes.get("points", ""), name == "polygon")
    else:
        names = ("x", "y", "x1", "y1", "x2", "y2", "width", "height", "cx", "cy", "r", "rx", "ry")
        sizes = {key: _length(attributes[key], key) for key in names if key in attributes}
        if None not in sizes.values():
            _basic(pen, name, {key: value for key, value in sizes.items() if value is not None})
    return [np.frombuffer(chain).reshape(-1, 2) for chain in pen.chains]


def _poly(pen: _Pen, points: str, is_closed: bool) -> None:
    scan = _Scanner(points, "points")
    draw = pen.move
    while not scan.is_at_end():
        draw(scan.number(), scan.number())
        draw = pen.line
    if is_closed and points.strip():
        pen.close()
    pen.dot()


def _length(text: str, name: str) -> float | None:
    """A length in pixels; None of one relative to something else."""
    if text.strip().endswith(("%", "em", "ex", "vw", "vh", "auto")):
        return None
    match = _LENGTH.fullmatch(text)
    if match is None or abs(float(match[1])) > _MOST:
        raise FormatError(f"{name!r} is {shown(text)}; expected a length such as '10' or '10mm'")
    return float(match[1]) * _UNITS[match[2]]


def _basic(pen: _Pen, name: str, sizes: Mapping[str, float]) -> None:
    def size(key: str) -> float:
        return sizes.get(key, 0.0)

    if name == "line":
        pen.move(size("x1"), size("y1"))
        pen.line(size("x2"), size("y2"))
        return
    if name == "rect":
        x, y, width, height = map(size, ("x", "y", "width", "height"))
        # One radius stands for both, and neither is more than half of its side.
        rx = min(sizes.get("rx", size("ry")), width / 2)
        ry = min(sizes.get("ry", size("rx")), height / 2)
    else:
        rx, ry = (size("r"),) * 2 if name == "circle" else (size("rx"), size("ry"))
        x, y, width, height = size("cx") - rx, size("cy") - ry, 2 * rx, 2 * ry
    if width <= 0 or height <= 0:
        return
    right, bottom = x + width, y + height
    rx, ry = (rx, ry) if rx > 0 and ry > 0 else (0.0, 0.0)
    pen.move(x + rx, y)
    for *line, cx, cy in (
        (right - rx, y, right, y + ry),
        (right, bottom - ry, right - rx, bottom),
        (x + rx, bottom, x, bottom - ry),
        (x, y + ry, x + rx, y),
    ):
        if tuple(line) != (pen.x, pen.y):
            pen.line(*line)
        pen.arc(rx, ry, 0, False, True, cx, cy)
    pen.close()


def matrix_of(transform: str) -> Matrix:
    """The matrix of a `transform`.

    Raises:
        FormatError: it cannot be read; with the place.
    """
    scan = _Scanner(transform, "transform")
    matrix = IDENTITY
    while not scan.is_at_end():
        name = scan.take(_FUNCTION) or scan.refuse("a function such as 'translate('")
        given: list[float] = []
        while not scan.take(_END):
            given.append(scan.number())
        matrix = compose(matrix, _matrix_of(name, given))
    return matrix


def _matrix_of(name: str, given: Sequence[float]) -> Matrix:
    match name, given:
        case "matrix", [a, b, c, d, e, f]:
            return a, b, c, d, e, f
        case "translate", [x, *y] if len(y) < 2:
            return 1.0, 0.0, 0.0, 1.0, x, y[0] if y else 0.0
        case "scale", [x, *y] if len(y) < 2:
            return x, 0.0, 0.0, y[0] if y else x, 0.0, 0.0
        case "rotate", [angle, *middle] if len(middle) in (0, 2):
            cos, sin = math.cos(math.radians(angle % 360)), math.sin(math.radians(angle % 360))
            x, y0 = middle or (0.0, 0.0)
            return cos, sin, -sin, cos, x - cos * x + sin * y0, y0 - sin * x - cos * y0
        case "skewX", [angle]:
            return 1.0, 0.0, math.tan(math.radians(angle % 360)), 1.0, 0.0, 0.0
        case "skewY", [angle]:
            return 1.0, math.tan(math.radians(angle % 360)), 0.0, 1.0, 0.0, 0.0
    raise FormatError(f"'transform' has {name} of {len(given)} numbers; expected as many as it takes")


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The matrix of `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return (a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * m + e, b * k + d * m + f)


def mapped(chain: Floats, matrix: Matrix) -> Floats:
    """The chain where the matrix sends it."""
    a, b, c, d, e, f = matrix
    x, y = chain.T
    with np.errstate(over="ignore", invalid="ignore"):
        return np.stack([a * x + c * y + e, b * x + d * y + f], axis=1)


def flattened(chains: Sequence[Floats]) -> list[Floats]:
    """The strokes (n, 2) of a drawing: chains whose curves become lines, off by `TOLERANCE` of its longer side at most.

    Raises:
        FormatError: numbers that are not finite, or more than `MAX_POINTS` points.
    """
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for chain in chains:
            # Where the curves go, or a little less.
            for points in (chain[::3], *(_points_of(curves, k / 8) for curves in _curves(chain) for k in range(1, 8))):
                low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
    allowed = max(TOLERANCE * float((high - low).max()), 1e-300)
    n_left = MAX_POINTS
    strokes = []
    for chain in chains:
        pieces = [chain[:1]]
        for curves in _curves(chain):
            with np.errstate(over="ignore", invalid="ignore"):
                bend = np.hypot(*np.diff(curves, n=2, axis=1).transpose(2, 0, 1)).max(axis=1)
            if not np.isfinite(bend).all():
                raise FormatError("has coordinates that are too large")
            # Wang's bound: n lines are off by at most 3/4 of the largest second difference, divided by n^2.
            n_lines = np.ceil(np.sqrt(0.75 * bend / allowed)).clip(1, MAX_POINTS).astype(np.int64)
            n_left -= int(n_lines.sum())
            if n_left < 0:
                raise FormatError(f"has more than {MAX_POINTS:,} points")
            which = np.repeat(np.arange(len(curves)), n_lines)
            begins = np.cumsum(n_lines) - n_lines
            at = (np.arange(len(which)) - begins[which] + 1) / n_lines[which]
            pieces.append(_points_of(curves[which], at[:, None]))
        strokes.append(np.concatenate(pieces))
    return strokes


def _curves(chain: Floats) -> Iterator[Floats]:
    """The curves of a chain, (S, 4, 2), some at a time."""
    for begin in range(0, len(chain) - 1, 3 * _AT_A_TIME):
        part = chain[begin : begin + 3 * _AT_A_TIME + 1]
        yield np.stack([part[:-1:3], part[1::3], part[2::3], part[3::3]], axis=1)


def _points_of(curves: Floats, t: Floats | float) -> Floats:
    """The points (S, 2) of curves (S, 4, 2) at t from 0 to 1, which at 1 are exactly their ends."""
    u = 1 - t
    return u**3 * curves[:, 0] + 3 * u * u * t * curves[:, 1] + 3 * u * t * t * curves[:, 2] + t**3 * curves[:, 3]
