"""How long does one guess take: strokes in, ranked words out, with the model loaded?

    python benchmarks/guess_speed.py FOLDER... [--models MODEL...] [--busy]

Each drawing is given to `Recognizer.predict` with PyTorch (the .model file) and with onnxruntime (the same, exported),
and, where it is simplified, to the plain recipe's way of doing it (plain_recipe.py: rows of 100 steps, a model of that
shape); these ways take turns of 20 drawings. All have one thread, but that a model with an image takes a second one
where a core is idle: `taskset -c 0` before the command shows what it takes without. Official files of any format may be
given: drawings of raw ones are simplified as part of the guess. Milliseconds, median and 99th percentile over the
drawings. With --busy all is measured once more while as many other processes as there are cores do nothing but compute.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import plain_recipe
import quickstroke
from quickstroke import formats
from quickstroke.artifacts import cards
from quickstroke.artifacts.loading import LoadedModel, load_model
from quickstroke.drawings.drawing import Drawing
from quickstroke.export.onnx import export
from quickstroke.models.classifier import n_parameters
from quickstroke.utils.system import n_cores

N_WARM = 20
# Guesses follow guesses of the same model while somebody draws; another way in between would empty the caches.
N_IN_TURN = 20
KINDS = ("simplified", "raw")


def some_drawings(sources: list[str], n: int) -> dict[str, list[Drawing]]:
    """At most `n` drawings of each kind, from all files alike, in random order."""
    found: dict[str, list[Drawing]] = {kind: [] for kind in KINDS}
    for source in sources:
        files = formats.find_sources(source).files
        per_file = -(-n // len(files))
        for path in files:
            for position, drawing in enumerate(formats.read_file(path)):
                if position == per_file:
                    break
                found["simplified" if drawing.is_simplified else "raw"].append(drawing)
    rng = np.random.default_rng(0)
    return {kind: [drawings[i] for i in rng.permutation(len(drawings))[:n]] for kind, drawings in found.items()}


def plain_guess(loaded: LoadedModel) -> Callable[[Drawing], list[tuple[str, float]]]:
    """The plain recipe's guess, by a model of the same shape with random weights."""
    model = plain_recipe.PlainClassifier(loaded.model.config).eval()

    def guess(drawing: Drawing) -> list[tuple[str, float]]:
        strokes = [(stroke[:, 0].tobytes(), stroke[:, 1].tobytes()) for stroke in drawing.strokes]
        with torch.no_grad():
            best = model(plain_recipe.to_rows(strokes)[None])[0].softmax(0).topk(5)
        return [(loaded.classes[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    return guess


def guess_with(recognizer: quickstroke.Recognizer) -> Callable[[Drawing], Any]:
    """Our guess, by compiled code."""
    recognizer.compile()
    return lambda drawing: recognizer.predict(drawing.strokes, simplified=drawing.is_simplified)


def timed(ways: dict[str, Callable[[Drawing], Any]], drawings: dict[str, list[Drawing]]) -> dict[str, Any]:
    """Milliseconds of each way for each kind of drawing."""
    found: dict[str, Any] = {}
    for kind, some in drawings.items():
        taken_ms: dict[str, list[float]] = {way: [] for way in ways if kind == "simplified" or way != "plain"}
        for begin in range(-N_WARM, len(some), N_IN_TURN):
            turn = some[:N_WARM] if begin < 0 else some[begin : begin + N_IN_TURN]
            for way, values in taken_ms.items():
                for drawing in turn:
                    started = time.perf_counter()
                    ways[way](drawing)
                    if begin >= 0:
                        values.append(1000 * (time.perf_counter() - started))
        found[kind] = {
            way: {"median_ms": float(np.median(values)), "p99_ms": float(np.percentile(values, 99))}
            for way, values in taken_ms.items()
            if values
        }
    return found


def measure(path: Path, drawings: dict[str, list[Drawing]], temporary: Path, busy: bool) -> dict[str, Any]:
    """What is known of a model, and what `timed` gives of it; under `busy` the same while the cores are busy."""
    loaded = load_model(path)
    exported = temporary / f"{loaded.name}.onnx"
    exported.write_bytes(export(loaded).data)
    ways = {
        "torch": guess_with(quickstroke.load(path)),
        "onnxruntime": guess_with(quickstroke.load(exported)),
        "plain": plain_guess(loaded),
    }
    facts = {"parameters": n_parameters(loaded.model), "classes": len(loaded.classes)}
    row = facts | timed(ways, drawings)
    if busy:
        with busy_cores():
            row["busy"] = timed(ways, drawings)
    return row


@contextmanager
def busy_cores() -> Iterator[None]:
    """In here each core has another process that computes."""
    spin = "while True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(n_cores())]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drawings", nargs="+", metavar="FOLDER", help="official files, simplified or raw")
    parser.add_argument("--models", nargs="+", type=Path, help=".model files; by default all published ones")
    parser.add_argument("--default-only", action="store_true", help="of the published ones the default alone")
    parser.add_argument("--busy", action="store_true", help="also while other processes keep the cores busy")
    parser.add_argument("--n", type=int, default=1000, help="drawings of each kind")
    options = parser.parse_args()
    torch.set_num_threads(1)
    drawings = some_drawings(options.drawings, options.n)
    models = {str(path): path for path in options.models or ()}
    listed = [published for published in cards.find_published()[0] if published.default or not options.default_only]
    models = models or {published.name: published.path for published in listed}
    with tempfile.TemporaryDirectory() as temporary:
        rows = [
            {"name": name, **measure(path, drawings, Path(temporary), options.busy)} for name, path in models.items()
        ]
    table = Table("model", "parameters", "drawings", "way", "median, ms", "p99, ms", title="One guess")
    for row in rows:
        measured = [(kind, row[kind]) for kind in KINDS]
        measured += [(f"{kind}, cores busy", row["busy"][kind]) for kind in KINDS if "busy" in row]
        for kind, ways in measured:
            for way, figures in ways.items():
                about = row["name"], f"{row['parameters']:,}", kind, way
                table.add_row(*about, f"{figures['median_ms']:.3f}", f"{figures['p99_ms']:.3f}")
    Console(width=140).print(table)
    print(json.dumps({"n": {kind: len(some) for kind, some in drawings.items()}, "models": rows}))


if __name__ == "__main__":
    main()
