"""How fast are drawings evaluated, against the plain recipe?

    python benchmarks/evaluating_speed.py FOLDER

For each model the same drawings are scored in turns by `quickstroke.evaluation.evaluate`, from the prepared dataset to
exact metrics, and by the plain recipe (plain_recipe.py: evaluation mode, tensors padded to 100 steps in memory, batches
of 256, the accuracy alone). A figure is the median over the turns. Readout `pool` has no plain counterpart: there the
plain model is the same convolutions, stride included, and bidirectional layers, read at the last step.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import TensorDataset

import plain_recipe
from quickstroke import batches
from quickstroke.categories import parse_classes
from quickstroke.config import ModelConfig
from quickstroke.dataset import PositionSplit, PreparedDataset, prepare
from quickstroke.evaluation import evaluate
from quickstroke.models import StrokeClassifier
from training_speed import timed

SAMPLE = str(Path(__file__).with_name("sample46.txt"))
NAMES = (
    "simple_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay2_sz64",
    "bipool_cv1_64_5_cv2_128_5_2_lay2_sz144",
)


def padded(data: PreparedDataset) -> TensorDataset:
    """The validation drawings as the plain recipe has them: points (N, 100, 3) and labels."""
    label_map = data.label_map(data.classes)
    batch = batches.gather(data, data.indices("val"), label_map, plain_recipe.MAX_PADDING)
    points = torch.zeros(len(batch.labels), plain_recipe.MAX_PADDING, 3)
    points[:, : batch.points.shape[1]] = torch.from_numpy(batch.points)
    return TensorDataset(points, torch.from_numpy(batch.labels))


def measure(name: str, data: PreparedDataset, tensors: TensorDataset, n_turns: int) -> dict[str, Any]:
    """Drawings a second of each way, and the ratio."""
    torch.manual_seed(0)
    config = ModelConfig.from_name(name, n_classes=len(data.classes))
    plain, model = plain_recipe.PlainClassifier(config), StrokeClassifier(config)
    indices, label_map = data.indices("val"), data.label_map(data.classes)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(n_turns + 1):
        taken = {
            "plain": timed(lambda: plain_recipe.evaluate(plain, tensors)),
            "ours": timed(lambda: evaluate(model, data, indices, data.classes, label_map)),
        }
        if turn:  # the first turn compiles and takes memory
            for way, value in taken.items():
                seconds[way].append(value)
    rates = {way: len(indices) / statistics.median(values) for way, values in seconds.items()}
    return {
        "name": name,
        "plain_per_s": rates["plain"],
        "ours_per_s": rates["ours"],
        "ratio": rates["ours"] / rates["plain"],
    }


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--classes", nargs="+", default=[SAMPLE])
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--n", type=int, default=100, help="drawings a category")
    parser.add_argument("--n-turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary) / "data"
        prepare(options.folder, into, classes=parse_classes(options.classes), split=PositionSplit(0, options.n, 0))
        data = PreparedDataset(into)
        tensors = padded(data)
        rows = [measure(name, data, tensors, options.n_turns) for name in options.names]
    title = f"Evaluating {len(tensors):,} drawings, {torch.get_num_threads()} threads"
    table = Table("model", "plain, drawings/s", "ours, drawings/s", "ratio", title=title)
    for row in rows:
        rates = (f"{row[key]:,.0f}" for key in ("plain_per_s", "ours_per_s"))
        table.add_row(row["name"], *rates, f"{row['ratio']:.2f}")
    Console(width=120).print(table)
    facts = {"n_threads": torch.get_num_threads(), "torch": torch.__version__, "n_drawings": len(tensors)}
    print(json.dumps({**facts, "models": rows}))


if __name__ == "__main__":
    main()
