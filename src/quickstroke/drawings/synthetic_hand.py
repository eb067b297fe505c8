"""A hand: how one person, the same throughout a drawing, misses corners and draws rings."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PenPath = NDArray[np.float64]
Corner = tuple[float, float]


class Hand:
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
