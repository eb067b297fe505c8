"""How much of a model's accuracy is left when drawings come as pictures and are traced back to strokes.

    python benchmarks/tracing.py DATA [--model MODEL] [--split test] [--n 1500]

DATA is a prepared dataset. Each drawing of a random sample is drawn as a picture in three ways, and read back:

- pen: a pen of 1 to 6% of the side, antialiased, rotated by up to 10 degrees, 160 to 640 pixels, JPEG at quality 60;
- bitmap: Google's 28x28 bitmap;
- photo: pencil on paper with grain, a shadow and perspective, noise, JPEG.

The last line is JSON: top-1 of the strokes themselves, and of each kind of picture with its interval and its part of
the former.
"""

import argparse
import io
import json
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.transform import ProjectiveTransform, warp

import quickstroke as qs
from quickstroke.data.dataset import PreparedDataset
from quickstroke.drawings.bitmap import draw_stroke, to_bitmap
from quickstroke.errors import FormatError
from quickstroke.evaluation.metrics import wilson_interval

Strokes = list[NDArray[np.uint8]]


def covered(strokes: Strokes, side: int, pen: float, angle: float, margin: float) -> NDArray[np.float64]:
    """How much of each pixel (side, side) a pen of `pen` pixels covers, 0 to 1."""
    points = np.concatenate(strokes).astype(np.float64)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = (points - (points.min(0) + points.max(0)) / 2) @ turn.T
    points *= (side - pen - 2 * margin) / max(float(np.ptp(points, axis=0).max()), 1.0)
    page = np.zeros((side, side), np.uint8)
    for stroke in np.split(points + side / 2, np.cumsum([len(stroke) for stroke in strokes])[:-1]):
        draw_stroke(stroke, pen / 2, page)
    return page / 255


def as_jpeg(grey: NDArray[Any], quality: int) -> bytes:
    """A picture (H, W) from 0 to 255 as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(file, "jpeg", quality=quality)
    return file.getvalue()


def pen(strokes: Strokes, rng: np.random.Generator) -> bytes:
    """A clean picture, dark on light or light on dark."""
    side = int(rng.integers(160, 641))
    width = side * rng.uniform(0.01, 0.06)
    ink = covered(strokes, side, width, math.radians(rng.uniform(-10, 10)), 0.04 * side)
    return as_jpeg(255 * (ink if rng.random() < 0.5 else 1 - ink), 60)


def bitmap(strokes: Strokes, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Google's bitmap."""
    return to_bitmap(strokes)


def photo(strokes: Strokes, rng: np.random.Generator) -> bytes:
    """Pencil on paper: the pencil catches the paper's grain, a shadow falls on it, and it is seen from aside."""
    side = 512

    def rough(sigma: float) -> NDArray[np.float64]:
        noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
        return noise / noise.std()

    ink = covered(strokes, side, rng.uniform(3, 7), math.radians(rng.uniform(-10, 10)), rng.uniform(0.08, 0.2) * side)
    ink = ndimage.gaussian_filter(ink, 0.6) * np.clip(0.75 + 0.25 * rough(1.0), 0.1, 1) * rng.uniform(0.35, 0.7)
    paper = 1 + 0.012 * rough(0.7) + 0.01 * rough(12)
    page = paper * (1 - ink)
    y, x = np.mgrid[:side, :side] / side - 0.5
    angle, edge = rng.uniform(0, 2 * math.pi), rng.uniform(-0.2, 0.2)
    away = math.cos(angle) * x + math.sin(angle) * y
    light = 1 - 0.25 * (away + 0.5) - rng.uniform(0.2, 0.45) / (1 + np.exp((away - edge) / rng.uniform(0.01, 0.06)))
    page = page * light
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], float)
    moved = corners + rng.uniform(-0.08, 0.08, (4, 2)) * side
    page = warp(page, ProjectiveTransform.from_estimate(moved, corners), order=1, mode="edge", preserve_range=True)
    page = 225 * page + 4 * rng.standard_normal((side, side))
    return as_jpeg(page, 80)


KINDS = {"pen": pen, "bitmap": bitmap, "photo": photo}


def main() -> None:
    """Prints a line for each kind of picture, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a prepared dataset")
    parser.add_argument("--model", help="by default the default model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--n", type=int, default=1500, help="drawings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    data, model = PreparedDataset(options.data), qs.load(options.model)
    model.compiles = False
    rng = np.random.default_rng(options.seed)
    indices = rng.choice(data.indices(options.split), options.n, replace=False)
    drawings = [data.strokes(int(i)) for i in indices]
    labels = [model.classes.index(data.classes[data.labels[i]]) for i in indices]
    of_strokes = float((model.probabilities(drawings).argmax(1) == labels).mean())
    print(f"strokes: top-1 {of_strokes:.1%} of {options.n:,}", flush=True)
    told: dict[str, Any] = {"split": options.split, "n": options.n, "model": model.name, "strokes": of_strokes}
    for kind in options.kinds:
        n_refused = 0
        traced: list[Any] = []
        own = []
        begin = time.process_time()
        for strokes, label in zip(drawings, labels, strict=True):
            picture = KINDS[kind](strokes, rng)
            try:
                traced.append(qs.trace(picture))
                own.append(label)
            except FormatError:
                n_refused += 1
        ms = 1000 * (time.process_time() - begin) / options.n
        first = [model.classes.index(guesses[0].word) for guesses in model.predict_many(traced, top=1)]
        n_right = int(np.equal(first, own).sum())
        top1 = n_right / options.n
        low, high = wilson_interval(n_right, options.n)
        told[kind] = {"top1": top1, "low": low, "high": high, "of_strokes": top1 / of_strokes, "refused": n_refused}
        print(
            f"{kind}: top-1 {top1:.1%} ({low:.1%} to {high:.1%}), {top1 / of_strokes:.1%} of that of strokes; "
            f"{n_refused} refused; {ms:.0f} ms each with drawing it",
            flush=True,
        )
    print(json.dumps(told))


if __name__ == "__main__":
    main()
