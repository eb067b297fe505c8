"""What synthetic drawings show: the paths of each word, by a hand."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from quickstroke.drawings.synthetic_hand import Corner, Hand, PenPath


def _turned(paths: list[PenPath], degrees: float) -> list[PenPath]:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [path @ np.array([[cos, sin], [-sin, cos]]) for path in paths]


def _circle(hand: Hand) -> list[PenPath]:
    if hand.chance(0.06):
        start = hand.between(-0.4, 0.0)
        return [hand.arc(0, 0, 1, 1, start, start + 0.5), hand.arc(0, 0, 1, 1, start, start - 0.5)]
    if hand.chance(0.05):
        return [hand.arc(0, 0, 1, 1, -0.25, hand.between(1.5, 1.9))]
    return [hand.ring(0, 0, 1)]


def _square(hand: Hand) -> list[PenPath]:
    half = float(np.exp(hand.rng.normal(0.05, 0.12)))
    return hand.polygon((-half, -1), (-half, 1), (half, 1), (half, -1))


def _triangle(hand: Hand) -> list[PenPath]:
    apex = hand.rng.normal(0.0, 0.15) if hand.chance(0.85) else hand.between(-0.9, 0.9)
    paths = hand.polygon((apex, -1), (-0.95, 0.8), (0.95, 0.8))
    return _turned(paths, hand.between(-60, 60)) if hand.chance(0.06) else paths


def _star(hand: Hand) -> list[PenPath]:
    def tip(turns: float, radius: float = 1.0) -> Corner:
        return radius * float(np.sin(2 * np.pi * turns)), -radius * float(np.cos(2 * np.pi * turns))

    if hand.chance(0.5):
        inner = hand.between(0.35, 0.55)
        return hand.polygon(*(tip(k / 10, inner if k % 2 else 1.0) for k in range(10)))
    if hand.chance(0.1):
        return hand.polygon(tip(0), tip(1 / 3), tip(2 / 3)) + hand.polygon(tip(1 / 2), tip(5 / 6), tip(1 / 6))
    order = [tip(k * 2 / 5 + 3 / 5) for k in range(6)]
    return [hand.line(*(order if hand.chance(0.7) else order[::-1]))]


def _window(hand: Hand, x: float, y: float, half: float) -> list[PenPath]:
    left, right, top, bottom = x - half, x + half, y - half, y + half
    paths = hand.polygon((left, top), (left, bottom), (right, bottom), (right, top))
    if hand.chance(0.5):
        paths += [hand.line((x, top), (x, bottom)), hand.line((left, y), (right, y))]
    return paths


def _house(hand: Hand) -> list[PenPath]:
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


def _fish(hand: Hand) -> list[PenPath]:
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


def _sun(hand: Hand) -> list[PenPath]:
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


def _cloud(hand: Hand) -> list[PenPath]:
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


def _ladder(hand: Hand) -> list[PenPath]:
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


def _envelope(hand: Hand) -> list[PenPath]:
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


def _wheel(hand: Hand, x: float, y: float, radius: float, n_spokes: int) -> list[PenPath]:
    paths = [hand.ring(x, y, radius)]
    for k in range(n_spokes):
        angle = np.pi * (k / n_spokes + hand.between(-0.05, 0.05))
        dx, dy = 0.9 * radius * np.cos(angle), 0.9 * radius * np.sin(angle)
        paths.append(hand.line((x - dx, y - dy), (x + dx, y + dy)))
    return paths


def _bicycle(hand: Hand) -> list[PenPath]:
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


def _face(hand: Hand) -> list[PenPath]:
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
            side = int(hand.rng.choice([-1, 1]))
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


SKETCHES: dict[str, Callable[[Hand], list[PenPath]]] = {
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
