"""How fast are drawings evaluated, against the plain recipe?

    python benchmarks/evaluating_speed.py FOLDER

Both begin with the official binary files and end with a model's accuracy. Ours prepares a dataset and scores it by
`evaluation.evaluate`, with all its exact metrics; the plain recipe (plain_recipe.py) makes tensors padded
to 100 steps and scores them in batches of 256. Scoring by itself is told, too. The two run in processes of their own,
in turns; a figure is the median over the turns. Ours is scored in float32, as by default, and once more in bfloat16,
which rounds what it multiplies. Readout `pool` has no plain counterpart: there PyTorch's own layers score packed
sequences in batches of 256, and our code draws the images.

The share is that of the processor's float32 matrix rate, of the product of two matrices of 512 by 512 in the same run:
what scoring in float32 comes to, counting the products of LSTM and convolutions over true steps. Convolutions over an
image count as they are defined; ours take fewer multiplications, so their share may be above 100%.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import TensorDataset

import plain_recipe
from apart import Apart
from quickstroke.config.model import ModelConfig
from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.points import n_channels as n_channels_of
from quickstroke.data.points import n_rows
from quickstroke.data.selection import LabelledDrawings
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.categories import parse_classes
from quickstroke.evaluation.evaluate import evaluate
from quickstroke.kernels import raster
from quickstroke.models.classifier import StrokeClassifier
from quickstroke.preparation.prepare import prepare
from training_speed import by_layers, operations, timed

SAMPLE = str(Path(__file__).with_name("sample46.txt"))
NAMES = (
    "simple_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay2_sz64",
    "bipool_cv1_64_5_cv2_96_5_4_img32_lay2_sz96",
    "bipool_cv1_48_5_cv2_64_5_4_img13_lay1_sz48",
)


def make_plain(names: Sequence[str], folder: str, words: tuple[str, ...], n: int) -> Callable[[str], float]:
    """A function of a model's name, '' for none: seconds of making tensors, or of scoring them."""
    found: dict[str, TensorDataset] = {}
    torch.manual_seed(0)
    configs = {name: ModelConfig.from_name(name, n_classes=len(words)) for name in names}
    pooled = {name: StrokeClassifier(config).eval() for name, config in configs.items() if config.readout == "pool"}
    models = {name: plain_recipe.PlainClassifier(config) for name, config in configs.items() if name not in pooled}
    temporary = tempfile.TemporaryDirectory()
    into = Path(temporary.name) / "data"
    prepare(Path(folder), into, classes=words, split=PositionSplit(0, n, 0))
    data = PreparedDataset(into)

    def by_pytorch(model: StrokeClassifier) -> float:
        config, label_map, n_right = model.config, data.label_map(words), 0
        with torch.no_grad():
            for rows in batches.cut(data.indices("val"), plain_recipe.BATCH_SIZE):
                batch = batches.batch_of(data, rows, label_map, config.max_padding, config.preprocessing)
                logits = by_layers(model, torch.from_numpy(batch.points), torch.from_numpy(batch.lengths))
                n_right += (logits.argmax(1) == torch.from_numpy(batch.labels)).sum().item()
        return n_right / len(data)

    def seconds(name: str) -> float:
        if not name:
            return timed(lambda: found.update(data=plain_recipe.read(Path(folder), words, n)))
        if name in pooled:
            return timed(lambda: by_pytorch(pooled[name]))
        return timed(lambda: plain_recipe.evaluate(models[name], found["data"]))

    return seconds


def make_ours(
    names: Sequence[str], folder: str, words: tuple[str, ...], n: int
) -> Callable[[str, torch.dtype], tuple[float, float]]:
    """The same of preparing a dataset and of evaluating on it in a precision, and how many operations the latter is."""
    found: dict[str, PreparedDataset] = {}
    torch.manual_seed(0)
    configs = {name: ModelConfig.from_name(name, n_classes=len(words)) for name in names}
    models = {name: StrokeClassifier(config) for name, config in configs.items()}
    temporary = tempfile.TemporaryDirectory()

    def read() -> None:
        into = Path(temporary.name) / str(time.monotonic_ns())
        prepare(Path(folder), into, classes=words, split=PositionSplit(0, n, 0))
        found["data"] = PreparedDataset(into)

    def seconds(name: str, precision: torch.dtype) -> tuple[float, float]:
        if not name:
            return timed(read), 0.0
        data, config = found["data"], configs[name]
        drawings = LabelledDrawings.of_split(data, "val", data.classes)
        rows = n_rows(batches.n_points_of(data, drawings.indices), config.max_padding, config.preprocessing)
        # `operations` counts a training step: forward, and twice that backward.
        n_operations = pooled_operations(config, rows) if config.readout == "pool" else operations(config, rows) / 3
        return timed(lambda: evaluate(models[name], drawings, precision=precision)), n_operations

    return seconds


def pooled_operations(config: ModelConfig, lengths: np.ndarray) -> float:
    """Operations of the forward products of a model with readout `pool`, over true steps."""
    total, steps, n_channels = 0.0, lengths, n_channels_of(config.preprocessing)
    for n_filters, width, *stride in filter(None, (config.conv1, config.conv2)):
        steps = -(-steps // (stride[0] if stride else 1))
        total += 2.0 * steps.sum() * n_filters * width * n_channels
        n_channels = n_filters
    for _ in range(config.n_layers):
        total += 2 * 2.0 * steps.sum() * 4 * config.hidden_size * (n_channels + config.hidden_size)
        n_channels = 2 * config.hidden_size
    side, n_channels = raster.SIDE, raster.N_CHANNELS
    for multiple, width, is_halved in raster.LAYERS if config.image else ():
        n_filters = multiple * config.image
        total += 2.0 * len(lengths) * side**2 * n_filters * width**2 * n_channels
        side, n_channels = side // (1 + is_halved), n_filters
    return total


def float32_rate() -> float:
    """Operations a second of float32 products, the fastest of some."""
    a, b, out = (torch.randn(512, 512) for _ in range(3))
    return 2 * 512**3 / min(timed(lambda: torch.mm(a, b, out=out)) for _ in range(20))


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
    plain, ours, rate_of = Apart(make_plain, *arguments), Apart(make_ours, *arguments), Apart(partial, float32_rate)
    n_operations: dict[str, float] = {}

    def by_ours(precision: torch.dtype, name: str) -> float:
        seconds, n_operations[name] = ours(name, precision)
        return seconds

    ways: dict[str, Callable[[str], float]] = {
        "plain": plain,
        "ours": partial(by_ours, torch.float32),
        "ours_bfloat16": partial(by_ours, torch.bfloat16),
    }
    taken: dict[tuple[str, str], list[float]] = {}
    rates = []
    for turn in range(options.n_turns + 1):
        rates.append(rate_of())
        for name in ("", *options.names):
            for way, seconds_of in ways.items():
                seconds = seconds_of(name)
                if turn:  # the first turn compiles and takes memory
                    taken.setdefault((way, name), []).append(seconds)
    for process in (plain, ours, rate_of):
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
        row["share"] = n_operations[name] / middle["ours", name] / max(rates)
        rows.append(row)
    title = f"Evaluating {n_drawings:,} drawings, {torch.get_num_threads()} threads, drawings a second"
    heads = [
        f"{way}, {what}" for what in ("from files", "scored") for way in ("plain", "ours", "ratio", "bfloat16 ratio")
    ]
    table = Table("model", *heads, "share of the float32 rate", title=title)
    for row in rows:
        cells = []
        for middle_word in ("", "_scored"):
            cells += [f"{row[f'{way}{middle_word}_per_s']:,.0f}" for way in ("plain", "ours")]
            cells += [f"{row[f'ratio{middle_word}{ending}']:.2f}" for ending in ("", "_bfloat16")]
        table.add_row(row["name"], *cells, f"{row['share']:.0%}")
    Console(width=170).print(table)
    facts = {"n_threads": torch.get_num_threads(), "torch": torch.__version__, "n_drawings": n_drawings}
    print(json.dumps({**facts, "gflops": max(rates) / 1e9, "models": rows}))


if __name__ == "__main__":
    main()
