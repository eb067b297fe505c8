"""Doodles drawn by a program, so that demos and tests run where no official file is at hand.

Nobody drew these, and nothing measured on them says how a model does on Quick, Draw!. A sketch lays out paths
in a plane where y grows downwards and a drawing reaches from about -1 to 1; a hand then draws the paths as a
person with a mouse would: it misses corners, rounds them, wobbles and slows down in curves.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quickstroke.categories import canonical_word, check_classes, closest_words
from quickstroke.drawing import Drawing
from quickstroke.errors import CategoryError, ConfigError

PenPath = NDArray[np.float64]
Corner = tuple[float, float]

# Pauses, spacing and sizes below are what the official raw drawings show: a point only after 5 px of
# movement, about 7 px and 17 ms between points, 0.4 s between strokes, a longer side of 150 to 650 px.
_LEAST_MOVE_PX = 5.0


class _Hand:
    """One person's manner of drawing, the same throughout a drawing."""

    def __init__(self, rng: np.random.Generator) -> None:
        haste = rng.normal()
        self.rng = rng
        self.looseness = min(0.04 * np.exp(0.4 * rng.normal() + 0.25 * haste), 0.1)
        self.speed_px_per_ms = 0.5 * np.exp(0.4 * haste)
        self.rounding_px = rng.uniform(1.5, 4.0) * np.exp(0.4 * haste)
        self.tremor_px = 0.5 * np.exp(0.35 * rng.normal())
        self.frame_ms = rng.choice([8.0, 16.7], p=[0.2, 0.8])
        # Most people draw a polygon without lifting the pen, some lift it once, some at each corner.
        self.lifts = rng.choice(["never", "once", "always"], p=[0.74, 0.12, 0.14])

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def line(self, *corners: Corner) -> PenPath:
        """One stroke through corners, each a little missed, either end too far or not far enough."""
        path = np.array(corners, dtype=float)
        miss = self.looseness * (0.2 + 0.4 * np.ptp(path, axis=0).max())
        path += self.rng.normal(0.0, miss, path.shape)
        for end, inner in ((0, 1), (-1, -2)):
            way = path[end] - path[inner]
            path[end] += self.rng.laplace(0.3, 0.7) * miss * way / max(float(np.hypot(*way)), 1e-9)
        return path[::-1] if self.chance(0.12) else path

    def polygon(self, *corners: Corner) -> list[PenPath]:
        """A closed outline, begun at any corner and drawn in one or more strokes."""
        start = 0 if self.chance(0.6) else self.count(0, len(corners) - 1)
        ring = [*corners[start:], *corners[: start + 1]]
        if self.chance(0.4):
            ring.reverse()
        if self.lifts == "never":
            return [self.line(*ring)]
        if self.lifts == "once":
            lift = self.count(1, len(ring) - 2)
            return [self.line(*ring[: lift + 1]), self.line(*ring[lift:])]
        return [self.line(a, b) for a, b in pairwise(ring)]

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, stop: float) -> PenPath:
        """One stroke around (x, y) between two angles in turns: 0 is right, 0.25 below."""
        n = max(8, int(40 * abs(stop - start)))
        angle = 2 * np.pi * np.linspace(start, stop, n)
        lumps = np.clip(1.5 * self.looseness * self.rng.normal(size=2), -0.1, 0.1)
        phases = self.between(0.0, 6.28), self.between(0.0, 6.28)
        radius = 1 + lumps[0] * np.cos(2 * angle + phases[0]) + 0.6 * lumps[1] * np.cos(3 * angle + phases[1])
        # The hand drifts outwards or inwards on its way round, so a ring rarely meets its own beginning.
        radius += self.rng.normal(0.0, 1.3 * self.looseness) * np.linspace(-1, 1, n)
        centre = np.array([x, y]) + self.rng.normal(0.0, self.looseness * (0.1 + 0.3 * max(rx, ry)), 2)
        path: PenPath = np.stack([rx * radius * np.cos(angle), ry * radius * np.sin(angle)], axis=1)
        return path + centre

    def ring(self, x: float, y: float, rx: float, ry: float | None = None) -> PenPath:
        """One stroke all the way round, a bit less or a bit more, mostly begun near the top."""
        start = self.rng.normal(-0.25, 0.08) if self.chance(0.75) else self.between(0, 1)
        turn = 1 + self.rng.normal(0.01, 0.8 * self.looseness + 0.015)
        stop = start - turn if self.chance(0.65) else start + turn
        return self.arc(x, y, rx, rx if ry is None else ry, start, stop)

    def dot(self, x: float, y: float, size: float = 0.04) -> PenPath:
        """A short scribble where a point is meant."""
        steps = self.rng.normal(0.0, size, (self.count(2, 5), 2))
        path: PenPath = np.array([x, y]) + steps.cumsum(axis=0)
        return path


def _turned(paths: list[PenPath], degrees: float) -> list[PenPath]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [path @ np.array([[cos, sin], [-sin, cos]]) for path in paths]


def _circle(hand: _Hand) -> list[PenPath]:
    if hand.chance(0.06):
        start = hand.between(-0.4, 0.0)
        return [hand.arc(0, 0, 1, 1, start, start + 0.5), hand.arc(0, 0, 1, 1, start, start - 0.5)]
    if hand.chance(0.05):
        return [hand.arc(0, 0, 1, 1, -0.25, hand.between(1.5, 1.9))]
    return [hand.ring(0, 0, 1)]


def _square(hand: _Hand) -> list[PenPath]:
    half = float(np.exp(hand.rng.normal(0.05, 0.12)))
    return hand.polygon((-half, -1), (-half, 1), (half, 1), (half, -1))


def _triangle(hand: _Hand) -> list[PenPath]:
    apex = hand.rng.normal(0.0, 0.15) if hand.chance(0.85) else hand.between(-0.9, 0.9)
    paths = hand.polygon((apex, -1), (-0.95, 0.8), (0.95, 0.8))
    return _turned(paths, hand.between(-60, 60)) if hand.chance(0.06) else paths


def _star(hand: _Hand) -> list[PenPath]:
    def tip(turns: float, radius: float = 1.0) -> Corner:
        return radius * float(np.sin(2 * np.pi * turns)), -radius * float(np.cos(2 * np.pi * turns))

    if hand.chance(0.5):
        inner = hand.between(0.35, 0.55)
        return hand.polygon(*(tip(k / 10, inner if k % 2 else 1.0) for k in range(10)))
    if hand.chance(0.1):
        return hand.polygon(tip(0), tip(1 / 3), tip(2 / 3)) + hand.polygon(tip(1 / 2), tip(5 / 6), tip(1 / 6))
    order = [tip(k * 2 / 5 + 3 / 5) for k in range(6)]
    return [hand.line(*(order if hand.chance(0.7) else order[::-1]))]


def _window(hand: _Hand, x: float, y: float, half: float) -> list[PenPath]:
    left, right, top, bottom = x - half, x + half, y - half, y + half
    paths = hand.polygon((left, top), (left, bottom), (right, bottom), (right, top))
    if hand.chance(0.5):
        paths += [hand.line((x, top), (x, bottom)), hand.line((left, y), (right, y))]
    return paths


def _house(hand: _Hand) -> list[PenPath]:
    half, eaves = hand.between(0.65, 0.95), hand.between(-0.3, 0.05)
    overhang = hand.between(0.0, 0.25) if hand.chance(0.6) else 0.0
    apex = (hand.rng.normal(0.0, 0.08), -hand.between(0.75, 1.2))
    left, right = (-half - overhang, eaves), (half + overhang, eaves)
    if hand.chance(0.3):
        body = [hand.line((-half, eaves), (-half, 1), (half, 1), (half, eaves))]
    else:
        body = hand.polygon((-half, eaves), (-half, 1), (half, 1), (half, eaves))
    if hand.chance(0.12):
        roof = [hand.line(left, (-0.5 * half, apex[1]), (0.5 * half, apex[1]), right)]
    elif hand.chance(0.7) or len(body) == 1:
        slopes = [(left, apex, right)] if hand.lifts == "never" else [(apex, left), (apex, right)]
        roof = [hand.line(*corners) for corners in slopes]
    else:
        roof = hand.polygon(apex, left, right)
    if len(body) == 1 and hand.chance(0.5):
        roof.append(hand.line(left, right))
    parts = [body, roof]
    x, width, top = hand.between(-0.3, 0.3), hand.between(0.1, 0.2), hand.between(0.35, 0.6)
    has_door = hand.chance(0.65)
    if has_door:
        door = [hand.line((x - width, 1), (x - width, top), (x + width, top), (x + width, 1))]
        if hand.chance(0.25):
            door.append(hand.dot(x + 0.6 * width, (1 + top) / 2, 0.02))
        parts.append(door)
    for side in (-1, 1):
        if hand.chance(0.38) and not (has_door and side * x > 0.1):
            parts.append(_window(hand, side * 0.62 * half, eaves + 0.35, hand.between(0.1, 0.17)))
    if hand.chance(0.2):
        x = hand.between(0.3, 0.5) * half
        slope = apex[1] + (eaves - apex[1]) * x / half
        chimney = ((x, slope), (x, apex[1] - 0.05), (x + 0.2, apex[1] - 0.05), (x + 0.2, slope + 0.2))
        parts.append([hand.line(*chimney)])
    if hand.chance(0.25):
        parts[0], parts[1] = parts[1], parts[0]
    return [path for part in parts for path in part]


def _fish(hand: _Hand) -> list[PenPath]:
    height, tail, tip = hand.between(0.35, 0.65), hand.between(0.25, 0.5), hand.between(1.05, 1.25)
    if hand.chance(0.5):
        # In one go: the tail's lower tip, along the back, round the nose, under the belly, the upper tip.
        angle = np.linspace(0.06, 2 * np.pi - 0.06, 30)
        body = np.stack([0.75 * np.cos(angle), -1.25 * height * np.sin(angle) * np.sin(angle / 2)], axis=1)
        lower, upper = hand.line((tip, tail), (tip, -tail))
        paths = [np.concatenate([[lower], body, [upper]])]
        if hand.chance(0.6):
            paths.append(hand.line(tuple(lower), (tip - hand.between(0, 0.15), 0.0), tuple(upper)))
    else:
        paths = [hand.ring(0, 0, 0.75, height)]
        paths.append(hand.line((0.72, 0.0), (tip, -tail), (tip - hand.between(0, 0.2), 0.0), (tip, tail), (0.72, 0.03)))
    if hand.chance(0.75):
        eye = (-0.42, -0.3 * height)
        paths.append(hand.ring(*eye, 0.06) if hand.chance(0.5) else hand.dot(*eye, 0.02))
    if hand.chance(0.3):
        paths.append(hand.arc(-0.65, 0.1, 0.16, 0.12, 0.0, hand.between(0.2, 0.35)))
    if hand.chance(0.25):
        paths.append(hand.arc(-0.3, 0, 0.14, 0.8 * height, -0.2, 0.2))
    if hand.chance(0.3):
        paths.append(hand.line((-0.15, -0.95 * height), (0.1, -height - 0.25), (0.3, -0.85 * height)))
    if hand.chance(0.2):
        paths.append(hand.line((-0.1, 0.95 * height), (0.15, height + 0.2), (0.25, 0.85 * height)))
    if hand.chance(0.4):
        paths = [path * [-1, 1] for path in paths]
    return paths


def _sun(hand: _Hand) -> list[PenPath]:
    radius = hand.between(0.35, 0.6)
    n = hand.count(5, 13)
    near = radius + hand.between(-0.02, 0.15)
    first, step = hand.between(-0.3, -0.2), (1 if hand.chance(0.6) else -1) / n
    rays = []
    for k in range(n):
        angle = 2 * np.pi * (first + step * (k + hand.rng.normal(0.0, 0.12)))
        way = np.array([np.cos(angle), np.sin(angle)])
        rays.append(hand.line(tuple(near * way), tuple(hand.between(0.8, 1.1) * way)))
    if hand.chance(0.12):
        # A jagged crown all round instead of rays.
        angles = np.pi * np.arange(2 * n + 1) / n
        reach = np.where(np.arange(2 * n + 1) % 2, 1.0, radius + 0.05)
        rays = [hand.line(*zip(reach * np.cos(angles), reach * np.sin(angles), strict=True))]
    elif hand.chance(0.3):
        # Every other ray first, then those between.
        rays = rays[::2] + rays[1::2]
    paths = [hand.ring(0, 0, radius), *rays]
    if hand.chance(0.12):
        paths += [hand.dot(-0.35 * radius, -0.2 * radius, 0.02), hand.dot(0.35 * radius, -0.2 * radius, 0.02)]
        paths.append(hand.arc(0, 0.1 * radius, 0.5 * radius, 0.4 * radius, 0.45, 0.05))
    return paths


def _cloud(hand: _Hand) -> list[PenPath]:
    n, height = hand.count(6, 11), hand.between(0.4, 0.65)
    turns = hand.between(0, 1) + (np.arange(n + 1) + hand.rng.normal(0, 0.15, n + 1)) / n
    turns[-1] = turns[0] + 1 + hand.rng.normal(0, 0.01)
    anchors = np.stack([np.cos(2 * np.pi * turns), height * np.sin(2 * np.pi * turns)], axis=1)
    bulge, flat_below = hand.between(0.25, 0.6), hand.chance(0.3)
    half_turn = np.linspace(0, np.pi, 12)[:, None]
    bumps = []
    for a, b in pairwise(anchors):
        swell = 0.05 if flat_below and min(a[1], b[1]) > 0.1 else bulge * hand.between(0.7, 1.3)
        outwards = np.array([b[1] - a[1], a[0] - b[0]])
        bumps.append(a + (b - a) * (1 - np.cos(half_turn)) / 2 + swell * outwards * np.sin(half_turn))
    paths = [np.concatenate(bumps)]
    if hand.lifts != "never":
        lift = hand.count(1, n - 1)
        paths = [np.concatenate(bumps[:lift]), np.concatenate(bumps[lift:])]
    if hand.chance(0.4):
        paths = [path[::-1] for path in paths[::-1]]
    if hand.chance(0.05):
        paths += [hand.line((x, 1.0), (x - 0.05, 1.3)) for x in (-0.5, 0.0, 0.5)]
    return paths


def _ladder(hand: _Hand) -> list[PenPath]:
    half, taper = hand.between(0.22, 0.45), hand.between(0.8, 1.0) if hand.chance(0.3) else 1.0
    n = hand.count(3, 8)
    rails = [hand.line((side * half * taper, -1), (side * half, 1)) for side in (-1, 1)]
    past = hand.between(0.0, 0.12) if hand.chance(0.35) else 0.0
    rungs = []
    for k in range(n):
        y = -1 + 2 * (k + 0.6 + hand.rng.normal(0.0, 0.1)) / (n + 0.2)
        reach = half * (taper + (1 - taper) * (y + 1) / 2) + past
        rungs.append(hand.line((-reach, y), (reach, y)))
    if hand.chance(0.3):
        rungs.reverse()
    paths = rails + rungs
    if hand.chance(0.1):
        paths += [hand.line((half * taper, -1), (half + hand.between(0.5, 0.8), 1))]
    return _turned(paths, hand.rng.normal(0, 18)) if hand.chance(0.4) else paths


def _envelope(hand: _Hand) -> list[PenPath]:
    top = -hand.between(0.45, 0.75)
    bottom = -top
    paths = hand.polygon((-1, top), (-1, bottom), (1, bottom), (1, top))
    point = (hand.rng.normal(0.0, 0.06), top + (bottom - top) * hand.between(0.3, 0.65))
    if hand.lifts == "always":
        paths += [hand.line((-1, top), point), hand.line((1, top), point)]
    else:
        paths.append(hand.line((-1, top), point, (1, top)))
    if hand.chance(0.2):
        paths += [hand.line((-1, bottom), (-0.15, point[1])), hand.line((1, bottom), (0.15, point[1]))]
    if hand.chance(0.1):
        paths.append(hand.ring(point[0], point[1], 0.09))
    return paths


def _wheel(hand: _Hand, x: float, y: float, radius: float, n_spokes: int) -> list[PenPath]:
    paths = [hand.ring(x, y, radius)]
    for k in range(n_spokes):
        angle = np.pi * (k / n_spokes + hand.between(-0.05, 0.05))
        dx, dy = 0.9 * radius * np.cos(angle), 0.9 * radius * np.sin(angle)
        paths.append(hand.line((x - dx, y - dy), (x + dx, y + dy)))
    return paths


def _bicycle(hand: _Hand) -> list[PenPath]:
    radius, base = hand.between(0.26, 0.4), hand.between(0.55, 0.7)
    hub, n_spokes = 0.4, hand.count(2, 4) if hand.chance(0.25) else 0
    rear, front = (-base, hub), (base, hub)
    crank = (hand.between(-0.1, 0.05), hub + hand.between(-0.05, 0.05))
    seat, head = (-0.3 + hand.between(-0.08, 0.08), -0.15), (0.4 + hand.between(-0.08, 0.08), -0.2)
    wheels = _wheel(hand, *rear, radius, n_spokes) + _wheel(hand, *front, radius, n_spokes)
    style = hand.rng.choice(["diamond", "triangle", "bar"], p=[0.5, 0.25, 0.25])
    if style == "diamond":
        frame = [hand.line(rear, seat, head, crank, rear), hand.line(seat, crank)]
        frame.append(hand.line(head, front))
    elif style == "triangle":
        frame = [hand.line(rear, seat, crank, head, front)]
        if hand.chance(0.6):
            frame.append(hand.line(seat, head))
    else:
        frame = [hand.line((-base + radius, hub), (base - radius, hub))]
        frame += [hand.line((-0.15, hub), seat), hand.line((base, hub), head)]
    saddle = [hand.line(seat, (seat[0] - 0.05, seat[1] - 0.18))] if hand.chance(0.6) else []
    rise = 0.18 if saddle else 0.0
    saddle.append(hand.line((seat[0] - 0.2, seat[1] - rise), (seat[0] + 0.12, seat[1] - rise)))
    stem = (head[0] - 0.06, head[1] - 0.3)
    bars = [hand.line(head, stem, (stem[0] + hand.between(-0.25, 0.25), stem[1] - hand.between(0.0, 0.12)))]
    parts = [wheels, frame, saddle, bars]
    if hand.chance(0.3):
        parts.append([hand.ring(*crank, 0.09)])
        if hand.chance(0.5):
            parts.append([hand.line((crank[0] - 0.12, crank[1] + 0.12), (crank[0] + 0.12, crank[1] - 0.12))])
    if hand.chance(0.2):
        parts[0], parts[1] = parts[1], parts[0]
    paths = [path for part in parts for path in part]
    return [path * [-1, 1] for path in paths] if hand.chance(0.4) else paths


def _face(hand: _Hand) -> list[PenPath]:
    apart, level = hand.between(0.28, 0.42), hand.between(-0.35, -0.15)
    outline = [hand.ring(0, 0, hand.between(0.75, 1.0), 1.0)]
    kind = hand.rng.choice(["dot", "ring", "stroke", "pupil"], p=[0.3, 0.4, 0.12, 0.18])
    size = hand.between(0.08, 0.16)
    eyes = []
    for side in (-1, 1):
        x = side * apart
        if kind == "dot":
            eyes.append(hand.dot(x, level, 0.025))
        elif kind == "stroke":
            eyes.append(hand.line((x, level - size), (x, level + size)))
        else:
            eyes.append(hand.ring(x, level, size, size * hand.between(0.6, 1.2)))
        if kind == "pupil":
            eyes.append(hand.dot(x, level, 0.02))
    features = [eyes]
    if hand.chance(0.5):
        nose = hand.rng.choice(["line", "corner", "ring"], p=[0.35, 0.4, 0.25])
        if nose == "line":
            features.append([hand.line((0, -0.1), (0, 0.2))])
        elif nose == "corner":
            side = hand.rng.choice([-1, 1])
            features.append([hand.line((0, -0.15), (0.12 * side, 0.18), (-0.05 * side, 0.2))])
        else:
            features.append([hand.ring(0, 0.1, 0.08)])
    width, low = hand.between(0.3, 0.55), hand.between(0.3, 0.45)
    mood = hand.rng.choice(["smile", "flat", "open", "sad"], p=[0.62, 0.16, 0.14, 0.08])
    if mood == "flat":
        mouth = [hand.line((-0.7 * width, low + 0.1), (0.7 * width, low + 0.1))]
    elif mood == "open":
        mouth = [hand.ring(0, low + 0.1, 0.7 * width, hand.between(0.08, 0.16))]
    elif mood == "sad":
        mouth = [hand.arc(0, low + 0.25, 0.8 * width, 0.22, -0.48, -0.02)]
    else:
        mouth = [hand.arc(0, low, width, hand.between(0.15, 0.35), 0.5, 0.0)]
        if hand.chance(0.15):
            mouth.append(hand.line((-width, low), (width, low)))
    features.append(mouth)
    if hand.chance(0.2):
        features.append([hand.arc(-1, 0, 0.18, 0.2, -0.2, -0.8), hand.arc(1, 0, 0.18, 0.2, -0.3, 0.3)])
    if hand.chance(0.2):
        brow = level - size - 0.12
        features.append([hand.line((s * apart - 0.13, brow), (s * apart + 0.13, brow)) for s in (-1, 1)])
    if hand.chance(0.2):
        hair = np.linspace(-0.6, 0.6, hand.count(3, 7))
        features.append([hand.line((x, -0.95 + 0.3 * x * x), (1.3 * x, -1.3)) for x in hair])
    if hand.chance(0.3):
        features = [features[k] for k in hand.rng.permutation(len(features))]
    parts = [outline, *features] if hand.chance(0.9) else [*features, outline]
    return [path for part in parts for path in part]


_SKETCHES: dict[str, Callable[[_Hand], list[PenPath]]] = {
    "bicycle": _bicycle,
    "circle": _circle,
    "cloud": _cloud,
    "envelope": _envelope,
    "face": _face,
    "fish": _fish,
    "house": _house,
    "ladder": _ladder,
    "square": _square,
    "star": _star,
    "sun": _sun,
    "triangle": _triangle,
}

SYNTHETIC_WORDS: tuple[str, ...] = tuple(_SKETCHES)


def _rounded(path: PenPath, radius: float) -> PenPath:
    """A path of 1 px steps smoothed by a Gaussian over its own length; its ends stay where they are."""
    reach = min(int(3 * radius) + 1, len(path) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    before, after = 2 * path[0] - path[reach:0:-1], 2 * path[-1] - path[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, path, after])
    return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)


def _wobble(at: NDArray[np.float64], hand: _Hand) -> PenPath:
    """Smooth error along a stroke: slow waves are large (sides bend), quick ones small (a hand trembles)."""
    lengths = np.geomspace(30.0, 400.0, 7) * hand.rng.uniform(0.8, 1.25, (2, 7))
    heights = hand.rng.normal(0.0, 1.0, (2, 7)) * hand.tremor_px * (lengths / 60)
    phases = hand.rng.uniform(0, 2 * np.pi, (2, 7))
    waves = heights * np.sin(2 * np.pi * at[:, None, None] / lengths + phases)
    path: PenPath = waves.sum(axis=2)
    return path


def _drawn(path: PenPath, hand: _Hand) -> tuple[PenPath, NDArray[np.float64]]:
    """What the pen reports of a path in pixels: points (n, 2) in whole pixels, and ms since pen down (n,)."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    if length[-1] < 2 * _LEAST_MOVE_PX:
        return np.rint(path[:1]), np.zeros(1)
    at = np.arange(0.0, length[-1])
    line = np.stack([np.interp(at, length, column) for column in path.T], axis=1)
    line = _rounded(line, min(hand.rounding_px, length[-1] / 12))
    heading = np.unwrap(np.arctan2(*np.gradient(line, axis=0).T))
    # A hand slows down with the cube root of curvature (Lacquaniti, Terzuolo and Viviani 1983), and at ends.
    speed = hand.speed_px_per_ms * (1 + 80 * np.abs(np.gradient(heading))) ** (-1 / 3)
    speed *= np.clip(np.minimum(at + 4, at[::-1] + 4) / 40, 0.2, 1.0)
    passed_ms = np.concatenate([[0.0], np.cumsum(1 / speed[1:])])
    line += _wobble(at, hand) * min(1.0, length[-1] / 150)
    frames_ms = np.arange(0.0, passed_ms[-1], hand.frame_ms)
    points = np.rint(np.stack([np.interp(frames_ms, passed_ms, column) for column in line.T], axis=1))
    kept = [0]
    for index in range(1, len(points)):
        if np.hypot(*(points[index] - points[kept[-1]])) >= _LEAST_MOVE_PX:
            kept.append(index)
    return points[kept], np.rint(frames_ms[kept])


def synthetic_drawing(word: str, rng: np.random.Generator) -> Drawing:
    """A new doodle in raw form.

    Args:
        word: one of `SYNTHETIC_WORDS`.
        rng: where its shape, its manner and its key_id come from.

    Returns:
        Strokes float64 (n, 2) in whole pixels of a canvas, times_ms increasing over the whole drawing. The
        key_id has its top bit set, which official ones do not; the country is unknown.

    Raises:
        CategoryError: a word that this module cannot draw.
    """
    word = _checked(word)
    key_id = int(rng.integers(1 << 63, 1 << 64, dtype=np.uint64))
    hand = _Hand(rng)
    paths = _SKETCHES[word](hand)
    tilt, slant = np.radians(rng.normal(0, 4)), rng.normal(0, 0.07)
    stretch = np.exp(rng.normal(0, 0.09))
    half_px = float(np.clip(150 * np.exp(0.35 * rng.normal()), 60, 330))
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    place = half_px * np.array([[stretch, 0.0], [slant, 1 / stretch]]) @ turn
    paths = [path @ place for path in paths]
    corner = rng.uniform(20, 250, 2) - np.concatenate(paths).min(axis=0)
    strokes, times_ms, now_ms = [], [], 0.0
    for path in paths:
        points, passed_ms = _drawn(path + corner, hand)
        strokes.append(points)
        times_ms.append(now_ms + passed_ms)
        now_ms = times_ms[-1][-1] + 30 + np.rint(400 * np.exp(0.6 * rng.normal()))
    return Drawing(word, strokes, key_id, times_ms=times_ms)


def synthetic_drawings(
    n_per_word: int, seed: int = 0, words: Sequence[str] = SYNTHETIC_WORDS, simplified: bool = True
) -> Iterator[Drawing]:
    """New doodles, word after word.

    A drawing depends on the seed, its word and its place among that word's drawings, and on nothing else.

    Args:
        n_per_word: how many of each word.
        seed: another seed, other drawings.
        words: which words, each one of `SYNTHETIC_WORDS`.
        simplified: in Google's simplified form, uint8 and without times, instead of raw.

    Raises:
        CategoryError: a word that this module cannot draw, or that is named twice.
        ConfigError: `n_per_word` is negative.
    """
    if n_per_word < 0:
        raise ConfigError(f"n_per_word={n_per_word}: expected 0 or more drawings of each word")
    return _synthetic_drawings(n_per_word, seed, [_checked(word) for word in check_classes(words, "words")], simplified)


def _synthetic_drawings(n_per_word: int, seed: int, words: Sequence[str], simplified: bool) -> Iterator[Drawing]:
    from quickstroke.simplification import simplify

    for word in words:
        for index in range(n_per_word):
            digest = hashlib.blake2b(f"{seed}/{word}/{index}".encode(), digest_size=16).digest()
            drawing = synthetic_drawing(word, np.random.default_rng(int.from_bytes(digest, "little")))
            if simplified:
                drawing = replace(drawing, strokes=simplify(drawing.strokes), times_ms=None)
            yield drawing


def _checked(name: str) -> str:
    word = canonical_word(name)
    if word not in _SKETCHES:
        raise CategoryError(
            f"{name!r}: no synthetic drawings of this word{closest_words(name, SYNTHETIC_WORDS)}; "
            f"expected one of {', '.join(SYNTHETIC_WORDS)}"
        )
    return word
