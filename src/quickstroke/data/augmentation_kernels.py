"""What augmentation does to the points of a drawing, in compiled code.

A drawing's points are x, y and pen (whether a point ends its stroke), float64 (n,) each; `state` is uint64 (1,);
`parameters` are those of an `augmentation.Augmentation`.
"""

from typing import Any

import numba
import numpy as np

from quickstroke.data.points import fill_rows, unpack
from quickstroke.drawings.simplification import MAX_LOOKS, SIDE, simplify_points
from quickstroke.utils import splitmix
from quickstroke.utils.compiled import jit

# A part of the longer side.
_CORNER = 0.05
# A stroke whose ends are closer than this part of its length is closed: it may as well begin anywhere.
_CLOSED = 0.15
_N_BEGINNINGS = 8
# Mixup takes the most similar of so many candidates, and each stroke goes at most so much of the way to it. Teachers
# recognise such a mixture, and often do not recognise one of two random drawings.
_N_CANDIDATES = 4
_LARGEST_WEIGHT = 0.7
# How far a retraced stroke is shifted: a standard deviation.
_RETRACED = 0.01
# Of pen noise, in 255ths of the longer side: the distance between the points that it moves, from least to most, and the
# largest standard deviation of that.
_LEAST_APART, _MOST_APART, _LARGEST_NOISE = 3.0, 20.0, 4.0


# --- Random numbers: splitmix64, a state of one word for each drawing -------------------------------------------------


_mix = jit()(splitmix.mix)
_STEP = splitmix.STEP


@jit()
def _uniform(state: Any) -> Any:
    """A number from 0 to below 1; `state` uint64 (1,) goes on."""
    state[0] += _STEP
    return np.float64(_mix(state[0]) >> np.uint64(11)) * 2.0**-53


@jit()
def _normal(state: Any) -> Any:
    """A number of mean 0 and standard deviation 1, never beyond 3.5: the sum of uniform ones, nearly normal."""
    total = 0.0
    for _ in range(4):
        total += _uniform(state)
    return (total - 2.0) * np.sqrt(3.0)


@numba.njit(inline="always")
def _box(x: Any, y: Any, begin: Any, end: Any) -> Any:
    """Middle and size of the points from `begin` to before `end`: x, y, width, height."""
    x_low, x_high, y_low, y_high = x[begin], x[begin], y[begin], y[begin]
    for i in range(begin + 1, end):
        x_low, x_high = min(x_low, x[i]), max(x_high, x[i])
        y_low, y_high = min(y_low, y[i]), max(y_high, y[i])
    return (x_low + x_high) / 2, (y_low + y_high) / 2, x_high - x_low, y_high - y_low


@numba.njit(inline="always")
def _end(pen: Any, begin: Any) -> Any:
    """One behind the last point of the stroke that begins at `begin`."""
    end = begin
    while pen[end] == 0:
        end += 1
    return end + 1


@jit()
def _measure(x: Any, y: Any, begin: Any, end: Any, along: Any) -> Any:
    """Writes how far each point of a stroke is along it, from 0 to 1, and returns its length."""
    along[begin] = 0.0
    for i in range(begin + 1, end):
        along[i] = along[i - 1] + np.hypot(x[i] - x[i - 1], y[i] - y[i - 1])
    length = along[end - 1]
    for i in range(begin, end):
        along[i] /= max(length, 1e-9)
    return length


@jit()
def _point_at(x: Any, y: Any, begin: Any, end: Any, along: Any, part: Any) -> Any:
    """The point that is so far along a measured stroke."""
    i = begin + 1
    while i < end - 1 and along[i] < part:
        i += 1
    if i >= end:
        return x[begin], y[begin]
    between = min(max((part - along[i - 1]) / max(along[i] - along[i - 1], 1e-9), 0.0), 1.0)
    return x[i - 1] + between * (x[i] - x[i - 1]), y[i - 1] + between * (y[i] - y[i - 1])


@jit()
def _distance(x: Any, y: Any, pen: Any, n: Any, x3: Any, y3: Any, pen3: Any, n3: Any) -> Any:
    """How far a drawing's strokes are from the closest of another, squared, a mean over its points."""
    middle_x, middle_y, _, _ = _box(x, y, 0, n)
    middle3_x, middle3_y, _, _ = _box(x3, y3, 0, n3)
    total = 0.0
    begin = 0
    while begin < n:
        end = _end(pen, begin)
        box_x, box_y, width, height = _box(x, y, begin, end)
        distance, _, _ = _closest_stroke(
            box_x - middle_x + middle3_x, box_y - middle_y + middle3_y, width, height, x3, y3, pen3, n3
        )
        total += distance * (end - begin)
        begin = end
    return total / n


@numba.njit(inline="always")
def _closest_stroke(box_x: Any, box_y: Any, width: Any, height: Any, x3: Any, y3: Any, pen3: Any, n3: Any) -> Any:
    """The stroke whose place and size are closest to those given: squared distance, its begin and end."""
    closest, begin3, end3 = np.inf, 0, 0
    other = 0
    while other < n3:
        other_end = _end(pen3, other)
        other_x, other_y, other_width, other_height = _box(x3, y3, other, other_end)
        distance = (box_x - other_x) ** 2 + (box_y - other_y) ** 2
        distance += (width - other_width) ** 2 + (height - other_height) ** 2
        if distance < closest:
            closest, begin3, end3 = distance, other, other_end
        other = other_end
    return closest, begin3, end3


@jit()
def _mixup(x: Any, y: Any, pen: Any, n: Any, x3: Any, y3: Any, pen3: Any, n3: Any, state: Any) -> None:
    """Mixup (Zhang et al., 2018) of strokes: moves the first `n` points towards a drawing of `n3` points.

    Each stroke goes towards the closest stroke of the other drawing, by a weight of its own.
    """
    along, along3 = np.empty(n), np.empty(n3)
    middle_x, middle_y, _, _ = _box(x, y, 0, n)
    middle3_x, middle3_y, _, _ = _box(x3, y3, 0, n3)
    for i in range(n3):
        x3[i] += middle_x - middle3_x
        y3[i] += middle_y - middle3_y

    begin = 0
    while begin < n:
        end = _end(pen, begin)
        box_x, box_y, width, height = _box(x, y, begin, end)
        _, begin3, end3 = _closest_stroke(box_x, box_y, width, height, x3, y3, pen3, n3)

        # The same way along both, from wherever the two are most alike.
        _measure(x, y, begin, end, along)
        length3 = _measure(x3, y3, begin3, end3, along3)
        is_closed = np.hypot(x3[begin3] - x3[end3 - 1], y3[begin3] - y3[end3 - 1]) < _CLOSED * length3
        closest, best_start, best_sign = np.inf, 0, 1.0
        for start in range(_N_BEGINNINGS if is_closed else 1):
            for sign in (1.0, -1.0):
                distance = 0.0
                for i in range(begin, end):
                    other_x, other_y = _point_at(x3, y3, begin3, end3, along3, _part(along[i], start, sign))
                    distance += (x[i] - other_x) ** 2 + (y[i] - other_y) ** 2
                if distance < closest:
                    closest, best_start, best_sign = distance, start, sign
        weight = _LARGEST_WEIGHT * _uniform(state)
        for i in range(begin, end):
            other_x, other_y = _point_at(x3, y3, begin3, end3, along3, _part(along[i], best_start, best_sign))
            x[i] += weight * (other_x - x[i])
            y[i] += weight * (other_y - y[i])
        begin = end


@jit()
def _part(part: Any, start: Any, sign: Any) -> Any:
    """How far along another stroke a point belongs that is so far along its own."""
    if start == 0:
        return part if sign > 0 else 1.0 - part
    part = start / _N_BEGINNINGS + sign * part
    return part - np.floor(part)


@jit()
def _geometric(x: Any, y: Any, pen: Any, n: Any, state: Any, parameters: Any) -> None:
    """The geometric augmentation of the first `n` points: affine, per-stroke jitter, elastic deformation, point jitter.

    Elastic deformation (Simard et al., 2003) is one wave along each axis.
    """
    angle, shear = parameters.rotation * _normal(state), parameters.shear * _normal(state)
    aspect = np.exp(0.5 * parameters.aspect_jitter * _normal(state))
    if parameters.random_rotation > 0 and _uniform(state) < parameters.random_rotation:
        angle = 2 * np.pi * _uniform(state)
    height_x, height_y = parameters.elastic * _normal(state), parameters.elastic * _normal(state)
    phase_x, phase_y = 2 * np.pi * _uniform(state), 2 * np.pi * _uniform(state)
    frequency_x, frequency_y = 0.5 + _uniform(state), 0.5 + _uniform(state)
    jitter = parameters.point_jitter * _uniform(state)
    center_x, center_y, width, height = _box(x, y, 0, n)
    side = max(width, height, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    begin = 0
    while begin < n:
        end = begin  # the stroke's last point, and its middle
        middle_x, middle_y = x[begin], y[begin]
        while pen[end] == 0:
            end += 1
            middle_x += x[end]
            middle_y += y[end]
        middle_x, middle_y = middle_x / (end - begin + 1), middle_y / (end - begin + 1)
        size, own_angle = np.exp(parameters.stroke_jitter * _normal(state)), parameters.stroke_jitter * _normal(state)
        shift_x, shift_y = parameters.stroke_jitter / 3 * _normal(state), parameters.stroke_jitter / 3 * _normal(state)
        own_cos, own_sin = size * np.cos(own_angle), size * np.sin(own_angle)
        for i in range(begin, end + 1):
            from_x, from_y = x[i] - middle_x, y[i] - middle_y
            u = (middle_x + own_cos * from_x - own_sin * from_y - center_x) / side + shift_x
            v = (middle_y + own_sin * from_x + own_cos * from_y - center_y) / side + shift_y
            u, v = u * aspect + shear * v, v / aspect
            u, v = cos * u - sin * v, sin * u + cos * v
            bent_u = u + height_x * np.sin(2 * np.pi * frequency_x * v + phase_x) + jitter * _normal(state)
            bent_v = v + height_y * np.sin(2 * np.pi * frequency_y * u + phase_y) + jitter * _normal(state)
            # Sides of about 255, as simplified drawings have: what has a size of its own is a dot's side of 1.
            x[i], y[i] = side * bent_u, side * bent_v
        begin = end + 1


@jit()
def _affine_jitter(x: Any, y: Any, n: Any, state: Any, deviation: Any) -> None:
    """Rotates the first `n` points and changes their aspect ratio, by a little."""
    angle, aspect = deviation * _normal(state), np.exp(0.5 * deviation * _normal(state))
    cos, sin = np.cos(angle), np.sin(angle)
    for i in range(n):
        u, v = x[i] * aspect, y[i] / aspect
        x[i], y[i] = cos * u - sin * v, sin * u + cos * v


@jit()
def _thin(x: Any, y: Any, pen: Any, n: Any, state: Any, parameters: Any) -> Any:
    """Point dropout and horizontal flip, in place; returns how many points are left."""
    flip = -1.0 if _uniform(state) < parameters.horizontal_flip else 1.0
    drop = parameters.drop_points * _uniform(state)
    _, _, width, height = _box(x, y, 0, n)
    # A point well beside the line of its neighbours is a corner, without which a square were a triangle.
    largest = (_CORNER * max(width, height, 1.0)) ** 2
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


@jit()
def _restroke(
    x: Any, y: Any, pen: Any, n: Any, state: Any, parameters: Any, x2: Any, y2: Any, pen2: Any, order: Any
) -> Any:
    """Stroke order, direction, dropout, midpoints, pen lifts, retracing and prefix truncation, in this order.

    Writes what comes of the first `n` points into x2, y2, pen2 (6n,) and returns how many points those are.
    """
    n_strokes = 0
    for i in range(n):
        n_strokes += pen[i] > 0
    for k in range(n_strokes):
        order[k] = k
    if _uniform(state) < parameters.reorder:
        for k in range(n_strokes - 1, 0, -1):
            other = int(_uniform(state) * (k + 1))
            order[k], order[other] = order[other], order[k]
    dropped = -1
    if _uniform(state) < parameters.drop_stroke and n_strokes >= 3:
        dropped = int(_uniform(state) * n_strokes)
    has_backwards = _uniform(state) < parameters.backwards
    middle = parameters.midpoints * _uniform(state)
    lift = 0.25 * _uniform(state) if _uniform(state) < parameters.lift else 0.0
    has_retraced = _uniform(state) < parameters.retrace
    beside = _RETRACED
    if has_retraced:
        _, _, width, height = _box(x, y, 0, n)
        beside *= max(width, height, 1.0)
    n_out = 0
    for k in range(n_strokes):
        if order[k] == dropped:
            continue
        begin = 0
        for _ in range(order[k]):
            begin = _end(pen, begin)
        end = _end(pen, begin)
        backwards = has_backwards and _uniform(state) < 0.5
        again = has_retraced and _uniform(state) < 0.5
        shift_x = shift_y = 0.0
        for _ in range(2 if again else 1):
            first = n_out
            for step in range(end - begin):
                i = end - 1 - step if backwards else begin + step
                to_x, to_y = x[i] + shift_x, y[i] + shift_y
                if step and _uniform(state) < middle:
                    x2[n_out], y2[n_out], pen2[n_out] = (to_x + x2[n_out - 1]) / 2, (to_y + y2[n_out - 1]) / 2, 0
                    n_out += 1
                x2[n_out], y2[n_out], pen2[n_out] = to_x, to_y, 0
                n_out += 1
                if lift and n_out - first > 1 and step < end - begin - 1 and _uniform(state) < lift:
                    pen2[n_out - 1] = 1
                    x2[n_out], y2[n_out], pen2[n_out] = to_x, to_y, 0
                    n_out += 1
            pen2[n_out - 1] = 1
            backwards = not backwards
            shift_x, shift_y = beside * _normal(state), beside * _normal(state)
    if _uniform(state) < parameters.prefix_truncation:
        n_out = max(int(np.ceil(n_out * (0.25 + 0.55 * _uniform(state)))), 1)
        # The pen may be on the paper still: then the last point is no end of a stroke, but a reader that is given
        # strokes so far takes it for one.
        pen2[n_out - 1] = 1
    return n_out


@jit()
def _pen_noise(x: Any, y: Any, pen: Any, state: Any) -> Any:
    """The points x, y, pen (n,) with pen noise, simplified anew.

    A line becomes several, and normal noise moves every point. Simplifying keeps as much of it as of a
    real pen's noise.
    """
    _, _, width, height = _box(x, y, 0, len(x))
    unit = max(width, height, 1.0) / SIDE
    apart = _LEAST_APART + (_MOST_APART - _LEAST_APART) * _uniform(state) ** 2
    far = min(1.0 + apart / 4, _LARGEST_NOISE) * _uniform(state)
    n_parts = np.ones(len(x), np.int64)  # of the line that ends at each point
    for i in range(1, len(x)):
        if pen[i - 1] == 0:
            n_parts[i] = max(int(np.hypot(x[i] - x[i - 1], y[i] - y[i - 1]) / (apart * unit)), 1)
    points, offsets = np.empty((n_parts.sum(), 2)), np.zeros(int(pen.sum()) + 1, np.int64)
    n, n_strokes = 0, 0
    for i in range(len(x)):
        for part in range(n_parts[i] - 1, -1, -1):
            back = part / n_parts[i]
            points[n, 0] = x[i] + back * (x[i - 1] - x[i]) + far * unit * _normal(state)
            points[n, 1] = y[i] + back * (y[i - 1] - y[i]) + far * unit * _normal(state)
            n += 1
        if pen[i] > 0:
            n_strokes += 1
            offsets[n_strokes] = n
    kept, ends = simplify_points(points, offsets, MAX_LOOKS)
    if len(kept) == 0:  # too many
        return x, y, pen
    is_end = np.zeros(len(kept))
    is_end[ends[1:] - 1] = 1
    return kept[:, 0].astype(np.float64), kept[:, 1].astype(np.float64), is_end


@jit()
def fill_augmented(
    data: Any, indices: Any, candidates: Any, seeds: Any, parameters: Any, longest: Any, out: Any, lengths: Any
) -> None:
    """Writes the points of `augmentation.augmented_points` into `out`, and the rows of each drawing into `lengths`.

    Args:
        data: points, pen bits, offsets and labels of a dataset.
        candidates: a `MixupCandidates`, empty for no mixup.
        seeds: of the geometric and of the stroke augmentation, uint64 (B,) each; the second empty where strokes are
            left as they are.
        longest: points that any drawing may have on the way.
    """
    (points, pen_bits, offsets, labels), (geometric_seeds, stroke_seeds) = data, seeds
    x, y, pen = np.empty(longest), np.empty(longest), np.empty(longest)
    x2, y2, pen2 = np.empty(longest), np.empty(longest), np.empty(longest)
    x3, y3, pen3 = np.empty(longest), np.empty(longest), np.empty(longest)
    order = np.empty(longest, np.int64)
    state = np.empty(1, np.uint64)
    for b in range(indices.size):
        begin, end = np.int64(offsets[indices[b]]), np.int64(offsets[indices[b] + 1])
        unpack(points, pen_bits, begin, end, x, y, pen)
        state[0] = geometric_seeds[b]
        n = end - begin
        if candidates.order.size and _uniform(state) < parameters.mixup:
            first, last = candidates.begins[labels[indices[b]]], candidates.ends[labels[indices[b]]]
            closest, chosen = np.inf, indices[b]
            for _ in range(_N_CANDIDATES):
                other = candidates.order[first + int(_uniform(state) * (last - first))]
                begin, end = np.int64(offsets[other]), np.int64(offsets[other + 1])
                if other == indices[b]:
                    continue
                if end - begin > x3.size:
                    x3, y3, pen3 = np.empty(end - begin), np.empty(end - begin), np.empty(end - begin)
                unpack(points, pen_bits, begin, end, x3, y3, pen3)
                distance = _distance(x, y, pen, n, x3, y3, pen3, end - begin)
                distance += _distance(x3, y3, pen3, end - begin, x, y, pen, n)
                if distance < closest:
                    closest, chosen = distance, other
            begin, end = np.int64(offsets[chosen]), np.int64(offsets[chosen + 1])
            unpack(points, pen_bits, begin, end, x3, y3, pen3)
            _mixup(x, y, pen, n, x3, y3, pen3, end - begin, state)
        _geometric(x, y, pen, n, state, parameters)
        if stroke_seeds.size:
            state[0] = stroke_seeds[b]
            if parameters.affine_jitter > 0:
                _affine_jitter(x, y, n, state, parameters.affine_jitter)
            n = _thin(x, y, pen, n, state, parameters)
            n = _restroke(x, y, pen, n, state, parameters, x2, y2, pen2, order)
            drawn = x2[:n], y2[:n], pen2[:n]
            if parameters.pen_noise > 0 and _uniform(state) < parameters.pen_noise:
                drawn = _pen_noise(*drawn, state)
            lengths[b] = fill_rows(*drawn, out[b])
        else:
            lengths[b] = fill_rows(x[:n], y[:n], pen[:n], out[b])
