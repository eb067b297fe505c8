"""How fast are drawings evaluated, against the plain recipe?

    python benchmarks/evaluating_speed.py FOLDER

Both begin with the official binary files and end with a model's accuracy. Ours prepares a dataset and scores it by
`evaluation.evaluate`, with all its exact metrics; the plain recipe (plain_recipe.py) makes tensors padded
to 100 steps and scores them in batches of 256. Scoring by itself is told, too. The two run in processes of their own,
in turns; a figure is the median over the turns. Ours is scored in float32, as by default, and once more in bfloat16,
which rounds what it multiplies. Readout `pool` has no plain counterpart: there the plain model is the
same convolutions, stride included, and bidirectional layers, read at the last step.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import TensorDataset

import plain_recipe
from apart import Apart
from quickstroke.config.model import ModelConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.categories import parse_classes
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.preparation.prepare import prepare
from training_speed import timed

SAMPLE = str(Path(__file__).with_name("sample46.txt"))
NAMES = (
    "simple_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay2_sz64",
    "bipool_cv1_64_5_cv2_128_5_2_lay2_sz144",
)


def make_plain(names: Sequence[str], folder: str, words: tuple[str, ...], n: int) -> Callable[[str], float]:
    """A function of a model's name, '' for none: seconds of making tensors, or of scoring them."""
    found: dict[str, TensorDataset] = {}
    torch.manual_seed(0)
    configs = {name: ModelConfig.from_name(name, n_classes=len(words)) for name in names}
    models = {name: plain_recipe.PlainClassifier(config) for name, config in configs.items()}

    def seconds(name: str) -> float:
        if not name:
            return timed(lambda: found.update(data=plain_recipe.read(Path(folder), words, 0, n)))
        return timed(lambda: plain_recipe.evaluate(models[name], found["data"]))

    return seconds


def make_ours(names: Sequence[str], folder: str, words: tuple[str, ...], n: int) -> Callable[[str, torch.dtype], float]:
    """The same of preparing a dataset, and of evaluating on it in a precision."""
    found: dict[str, PreparedDataset] = {}
    torch.manual_seed(0)
    configs = {name: ModelConfig.from_name(name, n_classes=len(words)) for name in names}
    models = {name: StrokeClassifier(config) for name, config in configs.items()}
    temporary = tempfile.TemporaryDirectory()

    def read() -> None:
        into = Path(temporary.name) / str(time.monotonic_ns())
        prepare(Path(folder), into, classes=words, split=PositionSplit(0, n, 0))
        found["data"] = PreparedDataset(into)

    def seconds(name: str, precision: torch.dtype) -> float:
        if not name:
            return timed(read)
        drawings = LabelledDrawings.of_split(found["data"], "val", found["data"].classes)
        return timed(lambda: evaluate(models[name], drawings, precision=precision))

    return seconds


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--classes", nargs="+", default=[SAMPLE])
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--n", type=int, default=400, help="drawings a category")
    parser.add_argument("--n-turns", type=int, default=5)
    options = parser.parse_args()
    words = parse_classes(options.classes)
    arguments = options.names, str(options.folder), words, options.n
    plain, ours = Apart(make_plain, *arguments), Apart(make_ours, *arguments)
    ways: dict[str, Callable[[str], float]] = {
        "plain": plain,
        "ours": lambda name: ours(name, torch.float32),
        "ours_bfloat16": lambda name: ours(name, torch.bfloat16),
    }
    taken: dict[tuple[str, str], list[float]] = {}
    for turn in range(options.n_turns + 1):
        for name in ("", *options.names):
            for way, seconds_of in ways.items():
                seconds = seconds_of(name)
                if turn:  # the first turn compiles and takes memory
                    taken.setdefault((way, name), []).append(seconds)
    for process in (plain, ours):
        process.end()
    n_drawings = options.n * len(words)
    middle = {key: statistics.median(values) for key, values in taken.items()}
    rows = []
    for name in options.names:
        row: dict[str, Any] = {"name": name}
        for way in ways:
            row[f"{way}_per_s"] = n_drawings / (middle[way, ""] + middle[way, name])
            row[f"{way}_scored_per_s"] = n_drawings / middle[way, name]
        for way, ending in (("ours", ""), ("ours_bfloat16", "_bfloat16")):
            row[f"ratio{ending}"] = row[f"{way}_per_s"] / row["plain_per_s"]
            row[f"ratio_scored{ending}"] = row[f"{way}_scored_per_s"] / row["plain_scored_per_s"]
        rows.append(row)
    title = f"Evaluating {n_drawings:,} drawings, {torch.get_num_threads()} threads, drawings a second"
    heads = [
        f"{way}, {what}" for what in ("from files", "scored") for way in ("plain", "ours", "ratio", "bfloat16 ratio")
    ]
    table = Table("model", *heads, title=title)
    for row in rows:
        cells = []
        for middle_word in ("", "_scored"):
            cells += [f"{row[f'{way}{middle_word}_per_s']:,.0f}" for way in ("plain", "ours")]
            cells += [f"{row[f'ratio{middle_word}{ending}']:.2f}" for ending in ("", "_bfloat16")]
        table.add_row(row["name"], *cells)
    Console(width=160).print(table)
    facts = {"n_threads": torch.get_num_threads(), "torch": torch.__version__, "n_drawings": n_drawings}
    print(json.dumps({**facts, "models": rows}))


if __name__ == "__main__":
    main()
