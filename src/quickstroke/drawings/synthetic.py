"""Doodles drawn by a program, so that demos and tests run where no official file is at hand.

Nobody drew these, and nothing measured on them says how a model does on Quick, Draw!. A sketch lays out paths
in a plane where y grows downwards and a drawing reaches from about -1 to 1; a hand then draws the paths as a
person with a mouse would: it misses corners, rounds them, wobbles and slows down in curves.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.categories import canonical_word, check_classes, closest_words
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.synthetic_hand import Hand, PenPath
from quickstroke.drawings.synthetic_sketches import SKETCHES
from quickstroke.errors import CategoryError, ConfigError

# Pauses, spacing and sizes below are what the official raw drawings show: a point only after 5 px of
# movement, about 7 px and 17 ms between points, 0.4 s between strokes, a longer side of 150 to 650 px.
_LEAST_MOVE_PX = 5.0

SYNTHETIC_WORDS: tuple[str, ...] = tuple(SKETCHES)


def _rounded(path: PenPath, radius: float) -> PenPath:
    """A path of 1 px steps smoothed by a Gaussian over its own length; its ends stay where they are."""
    reach = min(int(3 * radius) + 1, len(path) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    before, after = 2 * path[0] - path[reach:0:-1], 2 * path[-1] - path[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, path, after])
    return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)


def _wobble(at: NDArray[np.float64], hand: Hand) -> PenPath:
    """Smooth error along a stroke: slow waves are large (sides bend), quick ones small (tremor)."""
    lengths = np.geomspace(30.0, 400.0, 7) * hand.rng.uniform(0.8, 1.25, (2, 7))
    heights = hand.rng.normal(0.0, 1.0, (2, 7)) * hand.tremor_px * (lengths / 60)
    phases = hand.rng.uniform(0, 2 * np.pi, (2, 7))
    waves = heights * np.sin(2 * np.pi * at[:, None, None] / lengths + phases)
    path: PenPath = waves.sum(axis=2)
    return path


def _drawn(path: PenPath, hand: Hand) -> tuple[PenPath, NDArray[np.float64]]:
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
    hand = Hand(rng)
    paths = SKETCHES[word](hand)
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
    from quickstroke.drawings.simplification import simplify

    for word in words:
        for index in range(n_per_word):
            digest = hashlib.blake2b(f"{seed}/{word}/{index}".encode(), digest_size=16).digest()
            drawing = synthetic_drawing(word, np.random.default_rng(int.from_bytes(digest, "little")))
            if simplified:
                drawing = replace(drawing, strokes=simplify(drawing.strokes), times_ms=None)
            yield drawing


def _checked(name: str) -> str:
    word = canonical_word(name)
    if word not in SKETCHES:
        raise CategoryError(
            f"{name!r}: no synthetic drawings of this word{closest_words(name, SYNTHETIC_WORDS)}; "
            f"expected one of {', '.join(SYNTHETIC_WORDS)}"
        )
    return word
