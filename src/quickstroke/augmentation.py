"""Augmentation: the drawings of a batch as other hands, pens and moments would have left them.

What happens to a drawing comes in two stages, each a function of its own seed. Its *view* has another shape, and is
what a teacher sees as well:

    turned, sheared, stretched, each stroke a little apart from the others, bent by a slow wave, each point moved a
    little

Then the student alone sees another way of drawing it, by which a teacher that reads strokes in order is misled:

    left and right exchanged, points left out, strokes in another order, drawn backwards, one left out, long lines given
    a point in the middle, and the drawing unfinished: its first points only
"""

from dataclasses import dataclass, fields
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from quickstroke.batches import Drawings
from quickstroke.config import Preprocessing, check_types
from quickstroke.errors import ConfigError
from quickstroke.points import fill_rows, n_channels, unpack

# A part of the longer side.
_CORNER = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far drawings are changed. Lengths are fractions of a drawing's longer side; 0 leaves a change out.

    Attributes:
        turn: standard deviation of the angle, in radians.
        shear: standard deviation of the shear.
        stretch: standard deviation of the logarithm of width over height.
        loosen: standard deviation of the logarithm of each stroke's own size, of its own turn in radians, and of three
            times its own shift.
        wave: standard deviation of the height of a wave of about one period over the drawing.
        jitter: standard deviation of each coordinate of each point, at most; a drawing has its own from 0 up to it.
        mirror: probability that left and right are exchanged.
        drop_points: probability that a point inside a stroke that is no corner is left out, at most; a drawing has its
            own.
        drop_stroke: probability that one stroke is left out of a drawing of three or more.
        reorder: probability that the strokes come in random order.
        backwards: probability that a drawing has strokes drawn backwards, each with probability 1/2.
        midpoints: probability that a line is given a point in the middle, at most; a drawing has its own.
        unfinished: probability that only a first part of the points is there, from 1/5 of them on.
    """

    turn: float = 0.0
    shear: float = 0.0
    stretch: float = 0.0
    loosen: float = 0.0
    wave: float = 0.0
    jitter: float = 0.0
    mirror: float = 0.0
    drop_points: float = 0.0
    drop_stroke: float = 0.0
    reorder: float = 0.0
    backwards: float = 0.0
    midpoints: float = 0.0
    unfinished: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ConfigError(f"augmentation {field.name} should be from 0 to 1, got {value}")

    @property
    def of_view(self) -> list[float]:
        """The values that a view depends on."""
        return [self.turn, self.shear, self.stretch, self.loosen, self.wave, self.jitter]

    @property
    def parameters(self) -> NDArray[np.float64]:
        """The values in order, for compiled code."""
        return np.array([getattr(self, field.name) for field in fields(self)], dtype=np.float64)


# What the recipe `strong` does; chosen by eye, so that people still name the drawings.
STROKES = Augmentation(
    turn=0.12,
    shear=0.1,
    stretch=0.18,
    loosen=0.1,
    wave=0.015,
    jitter=0.012,
    mirror=0.25,
    drop_points=0.4,
    drop_stroke=0.05,
    reorder=0.1,
    backwards=0.15,
    midpoints=0.25,
    unfinished=0.25,
)


def gather(
    data: Drawings,
    indices: NDArray[np.int64],
    view_seeds: NDArray[np.uint64],
    stroke_seeds: NDArray[np.uint64] | None,
    augmentation: Augmentation,
    max_padding: int,
    preprocessing: Preprocessing,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Augmented points float32 (B, T, C), zero after each drawing's end, and their true rows int64 (B,).

    Args:
        indices: int64 (B,), which drawings.
        view_seeds: (B,), of each one's view.
        stroke_seeds: (B,), of what the student alone sees; None leaves that out.
    """
    longest = 2 * int(data.n_points[indices].max(initial=1))
    out = np.zeros((len(indices), min(longest, max_padding), n_channels(preprocessing)), dtype=np.float32)
    lengths = np.empty(len(indices), dtype=np.int64)
    _fill_augmented(
        data.points,
        data.pen_up,
        data.offsets,
        indices,
        view_seeds,
        view_seeds if stroke_seeds is None else stroke_seeds,
        stroke_seeds is not None,
        augmentation.parameters,
        longest,
        out,
        lengths,
    )
    return out[:, : int(lengths.max(initial=0))], lengths


def seeds(base: tuple[int, ...], indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One seed (B,) for each of some drawings, of a few numbers and its index: the same wherever it stands."""
    first = np.random.SeedSequence(base).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        result: NDArray[np.uint64] = first + indices.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return result


# --- Random numbers: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), a state of one word for each drawing ------------


@numba.njit(inline="always")
def _uniform(state: Any) -> Any:
    """A number from 0 to below 1; `state` uint64 (1,) goes on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53


@numba.njit(inline="always")
def _normal(state: Any) -> Any:
    """A number of mean 0 and standard deviation 1, never beyond 3.5: the sum of uniform ones, nearly normal."""
    total = 0.0
    for _ in range(4):
        total += _uniform(state)
    return (total - 2.0) * np.sqrt(3.0)


@numba.njit(cache=True, nogil=True)
def _view(x: Any, y: Any, pen: Any, n: Any, state: Any, p: Any) -> None:
    """Moves the first `n` points."""
    turn, shear, stretch = p[0] * _normal(state), p[1] * _normal(state), np.exp(0.5 * p[2] * _normal(state))
    height_x, height_y = p[4] * _normal(state), p[4] * _normal(state)
    phase_x, phase_y = 2 * np.pi * _uniform(state), 2 * np.pi * _uniform(state)
    frequency_x, frequency_y = 0.5 + _uniform(state), 0.5 + _uniform(state)
    jitter = p[5] * _uniform(state)
    x_low, x_high, y_low, y_high = x[0], x[0], y[0], y[0]
    for i in range(1, n):
        x_low, x_high = min(x_low, x[i]), max(x_high, x[i])
        y_low, y_high = min(y_low, y[i]), max(y_high, y[i])
    side = max(x_high - x_low, y_high - y_low, 1.0)
    cos, sin = np.cos(turn), np.sin(turn)
    begin = 0
    while begin < n:
        end = begin  # the stroke's last point, and its middle
        middle_x, middle_y = x[begin], y[begin]
        while pen[end] == 0:
            end += 1
            middle_x += x[end]
            middle_y += y[end]
        middle_x, middle_y = middle_x / (end - begin + 1), middle_y / (end - begin + 1)
        size, own_turn = np.exp(p[3] * _normal(state)), p[3] * _normal(state)
        shift_x, shift_y = p[3] / 3 * _normal(state), p[3] / 3 * _normal(state)
        own_cos, own_sin = size * np.cos(own_turn), size * np.sin(own_turn)
        for i in range(begin, end + 1):
            from_x, from_y = x[i] - middle_x, y[i] - middle_y
            u = (middle_x + own_cos * from_x - own_sin * from_y - (x_low + x_high) / 2) / side + shift_x
            v = (middle_y + own_sin * from_x + own_cos * from_y - (y_low + y_high) / 2) / side + shift_y
            u, v = u * stretch + shear * v, v / stretch
            u, v = cos * u - sin * v, sin * u + cos * v
            bent_u = u + height_x * np.sin(2 * np.pi * frequency_x * v + phase_x) + jitter * _normal(state)
            bent_v = v + height_y * np.sin(2 * np.pi * frequency_y * u + phase_y) + jitter * _normal(state)
            # Sides of about 255, as simplified drawings have: what has a size of its own is a dot's side of 1.
            x[i], y[i] = side * bent_u, side * bent_v
        begin = end + 1


@numba.njit(cache=True, nogil=True)
def _thin(x: Any, y: Any, pen: Any, n: Any, state: Any, p: Any) -> Any:
    """Leaves points out and perhaps exchanges left and right, in place; returns how many points are left."""
    flip = -1.0 if _uniform(state) < p[6] else 1.0
    drop = p[7] * _uniform(state)
    x_low, x_high, y_low, y_high = x[0], x[0], y[0], y[0]
    for i in range(1, n):
        x_low, x_high = min(x_low, x[i]), max(x_high, x[i])
        y_low, y_high = min(y_low, y[i]), max(y_high, y[i])
    # A point well beside the line of its neighbours is a corner, without which a square were a triangle.
    largest = (_CORNER * max(x_high - x_low, y_high - y_low, 1.0)) ** 2
    before_x, before_y = x[0], y[0]
    was_end = True
    kept = 0
    for i in range(n):
        is_end = pen[i] > 0
        if _uniform(state) < drop and not (is_end or was_end):
            line_x, line_y = x[i + 1] - before_x, y[i + 1] - before_y
            across = (x[i] - before_x) * line_y - (y[i] - before_y) * line_x
            if across * across < largest * (line_x * line_x + line_y * line_y):
                continue
        before_x, before_y, was_end = x[i], y[i], is_end
        x[kept], y[kept], pen[kept] = flip * x[i], y[i], pen[i]
        kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def _restroke(x: Any, y: Any, pen: Any, n: Any, state: Any, p: Any, x2: Any, y2: Any, pen2: Any, order: Any) -> Any:
    """Writes the first `n` points as drawn another way into x2, y2, pen2 (2n,) and returns how many those are."""
    n_strokes = 0
    for i in range(n):
        n_strokes += pen[i] > 0
    for k in range(n_strokes):
        order[k] = k
    if _uniform(state) < p[9]:
        for k in range(n_strokes - 1, 0, -1):
            other = int(_uniform(state) * (k + 1))
            order[k], order[other] = order[other], order[k]
    dropped = -1
    if _uniform(state) < p[8] and n_strokes >= 3:
        dropped = int(_uniform(state) * n_strokes)
    has_backwards = _uniform(state) < p[10]
    middle = p[11] * _uniform(state)
    n_out = 0
    for k in range(n_strokes):
        if order[k] == dropped:
            continue
        begin = 0
        for _ in range(order[k]):
            while pen[begin] == 0:
                begin += 1
            begin += 1
        end = begin
        while pen[end] == 0:
            end += 1
        backwards = has_backwards and _uniform(state) < 0.5
        for step in range(end - begin + 1):
            i = end - step if backwards else begin + step
            if step and _uniform(state) < middle:
                x2[n_out], y2[n_out], pen2[n_out] = (x[i] + x2[n_out - 1]) / 2, (y[i] + y2[n_out - 1]) / 2, 0
                n_out += 1
            x2[n_out], y2[n_out], pen2[n_out] = x[i], y[i], 0
            n_out += 1
        pen2[n_out - 1] = 1
    if _uniform(state) < p[12]:
        n_out = max(int(np.ceil(n_out * (0.2 + 0.8 * _uniform(state)))), 1)
        # The pen may be on the paper still: then the last point is no end of a stroke, but a reader that is given
        # strokes so far takes it for one.
        pen2[n_out - 1] = 1
    return n_out


@numba.njit(cache=True, nogil=True)
def _fill_augmented(
    points: Any,
    pen_bits: Any,
    offsets: Any,
    indices: Any,
    view_seeds: Any,
    stroke_seeds: Any,
    with_strokes: Any,
    parameters: Any,
    longest: Any,
    out: Any,
    lengths: Any,
) -> None:
    x, y, pen = np.empty(longest), np.empty(longest), np.empty(longest)
    x2, y2, pen2 = np.empty(longest), np.empty(longest), np.empty(longest)
    order = np.empty(longest, np.int64)
    state = np.empty(1, np.uint64)
    for b in range(indices.size):
        begin, end = np.int64(offsets[indices[b]]), np.int64(offsets[indices[b] + 1])
        unpack(points, pen_bits, begin, end, x, y, pen)
        state[0] = view_seeds[b]
        n = end - begin
        _view(x, y, pen, n, state, parameters)
        if with_strokes:
            state[0] = stroke_seeds[b]
            n = _thin(x, y, pen, n, state, parameters)
            n = _restroke(x, y, pen, n, state, parameters, x2, y2, pen2, order)
            lengths[b] = fill_rows(x2[:n], y2[:n], pen2[:n], out[b])
        else:
            lengths[b] = fill_rows(x[:n], y[:n], pen[:n], out[b])
