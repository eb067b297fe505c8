"""Robustness to drawing style: does a model still recognise a drawing that is drawn in another way?

    python benchmarks/drawing_style.py DATA MODEL...

People outside the game draw strokes in another order, begin them at the other end, lift the pen in the middle of them,
or rotate the paper; pens record more points, or add noise, and slopes of small drawings become stairs of pixels.
The validation drawings of DATA, a prepared dataset, that a model has words for are drawn again in each of these ways,
the same for every model, and recognised: top-1 and balanced accuracy.
"""

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from quickstroke.artifacts.loading import load_model
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.memory import MemoryDataset
from quickstroke.data.selection import LabelledDrawings, select
from quickstroke.drawings.simplification import simplify
from quickstroke.errors import QuickstrokeError
from quickstroke.evaluation.evaluate import evaluate

Strokes = list[NDArray[np.int64]]
Lines = list[NDArray[np.float64]]
Style = Callable[[Strokes, np.random.Generator], Strokes]

# Pixels between points, of the 255 that a drawing is long.
STEP = 16
DEGREES = 20
# Pen noise: pixels between the points that it moves, and the standard deviation of how far.
NOISE_STEP, NOISE = 4, 1.5
# Pixels of a screen that a small drawing is long, and those of 255 between its points.
SMALL, SMALL_STEP = 60, 8


def unchanged(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """The same."""
    return strokes


def random_order(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Strokes shuffled."""
    return [strokes[i] for i in rng.permutation(len(strokes))]


def half_reversed(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Half of the strokes from their ends."""
    return [stroke[::-1] if rng.random() < 0.5 else stroke for stroke in strokes]


def lifted(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Strokes of four points or more in up to three parts; each begins where the last one ended."""
    parts = []
    for stroke in strokes:
        n_cuts = rng.integers(3) if len(stroke) > 3 else 0
        cuts = np.unique(rng.integers(1, len(stroke) - 1, n_cuts)) if n_cuts else []
        ends = [0, *cuts, len(stroke) - 1]
        parts += [stroke[begin : end + 1] for begin, end in pairwise(ends)]
    return parts


def finer(strokes: Strokes, step: int) -> Lines:
    """Points not more than about `step` apart."""
    result = []
    for stroke in strokes:
        n = np.maximum(np.hypot(*np.diff(stroke, axis=0).T) // step, 1).astype(int)  # parts of each line
        at = np.concatenate([[0.0], *[i + np.arange(1, k + 1) / k for i, k in enumerate(n)]])
        result.append(np.stack([np.interp(at, np.arange(len(stroke)), column) for column in stroke.T], 1))
    return result


def dense(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Points not more than about `STEP` apart."""
    return [np.rint(stroke).astype(np.int64) for stroke in finer(strokes, STEP)]


def pen_noise(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Moved at every few pixels, and simplified, as raw drawings are."""
    return simplified([stroke + rng.normal(0, NOISE, stroke.shape) for stroke in finer(strokes, NOISE_STEP)])


def small(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Whole pixels of a small drawing, simplified."""
    return simplified([np.rint(stroke * (SMALL / 255)) for stroke in finer(strokes, SMALL_STEP)])


def simplified(strokes: Lines) -> Strokes:
    """As raw drawings are simplified."""
    return [stroke.astype(np.int64) for stroke in simplify(strokes)]


def rotated(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Rotated by `DEGREES`, to the left or to the right, and as large as a drawing is again."""
    angle = np.deg2rad(DEGREES) * rng.choice([-1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = [stroke @ turn for stroke in strokes]
    points = np.concatenate(turned)
    low = points.min(0)
    scale = 255 / max((points.max(0) - low).max(), 1)
    return [np.rint((stroke - low) * scale).astype(np.int64) for stroke in turned]


STYLES: dict[str, tuple[Style, ...]] = {
    "unchanged": (unchanged,),
    "strokes in random order": (random_order,),
    "half of the strokes reversed": (half_reversed,),
    "random order and reversed": (random_order, half_reversed),
    "pen lifted within strokes": (lifted,),
    "lifted, random order and reversed": (lifted, random_order, half_reversed),
    "more points": (dense,),
    f"rotated by {DEGREES} degrees": (rotated,),
    "pen noise": (pen_noise,),
    f"drawn {SMALL} pixels small": (small,),
}


def drawn_again(data: PreparedDataset, indices: NDArray[np.int64], changes: tuple[Style, ...]) -> MemoryDataset:
    """The drawings with these changes, one after the other."""
    rng = np.random.default_rng(0)
    drawings = []
    for i in indices:
        strokes = [stroke.astype(np.int64) for stroke in data.strokes(int(i))]
        for change in changes:
            strokes = change(strokes, rng)
        drawings.append((int(data.labels[i]), [stroke.astype(np.uint8) for stroke in strokes]))
    return MemoryDataset(data.classes, drawings)


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="a prepared dataset")
    parser.add_argument("models", nargs="+", metavar="MODEL", help=".model files or run folders, of the same words")
    options = parser.parse_args()
    try:
        data, models = PreparedDataset(options.data), [load_model(path) for path in options.models]
        indices = select(data, "val", data.label_map(models[0].classes))
    except QuickstrokeError as error:
        parser.error(str(error))
    if len({frozenset(model.classes) for model in models}) > 1:
        parser.error("the models know different words; expected the same")
    table = Table(
        "drawn", *[model.name for model in models], title=f"top-1 / balanced accuracy, {len(indices)} drawings"
    )
    rows = []
    for name, changes in STYLES.items():
        drawings, row = drawn_again(data, indices, changes), {}
        for path, model in zip(options.models, models, strict=True):
            label_map = data.label_map(model.classes)
            drawn = LabelledDrawings(drawings, np.arange(len(drawings)), model.classes, label_map)
            result = evaluate(model.model, drawn)
            row[path] = {
                "top1": result.top(1),
                "balanced_accuracy": result.balanced_accuracy(),
                "loss": result.balanced_loss(),
            }
        table.add_row(
            name, *[f"{figures['top1']:.1%} / {figures['balanced_accuracy']:.1%}" for figures in row.values()]
        )
        rows.append({"drawn": name, "models": row})
    Console(width=160).print(table)
    print(json.dumps({"n": len(indices), "rows": rows}))


if __name__ == "__main__":
    main()
