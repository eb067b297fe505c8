"""How much sooner does the recommended model reach the accuracy of the packed baseline?

    python benchmarks/time_to_accuracy.py FOLDER

The baseline (packed_baseline.py) trains for 8 epochs; its best validation accuracy and the seconds up to it are what
ours is held against. Ours is trained once for each seed, between two epochs of the baseline, so that both meet the same
machine, and in a process of its own; the figure is the median over the seeds of the seconds after which it first
reached that accuracy. Both read the same drawings from one prepared dataset: the first 420 of each category to train
on, the next 80 to validate.

Counted are training and validation, by the wall clock, from a warm start: what is compiled is compiled before. Ours
also writes checkpoints and scores by a second protocol after each epoch; `ratio_wall` counts these too.
"""

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

import packed_baseline
from apart import Apart
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.categories import parse_classes
from quickstroke.models.classifier import StrokeClassifier, n_parameters
from quickstroke.preparation.prepare import prepare
from quickstroke.training.loop import train
from quickstroke.training.session import Watcher

NAME = "bipool_cv1_48_5_2_cv2_96_5_2_lay1_sz64"


class Point(NamedTuple):
    """Where a training of ours is after an epoch: seconds of training and validation, seconds in all, accuracy."""

    seconds: float
    wall_s: float
    accuracy: float


def train_ours(name: str, folder: str, config: TrainConfig) -> list[Point]:
    """One training from random weights; where it is after each epoch."""
    data, curve = PreparedDataset(folder), list[Point]()

    def on_epoch(line: dict[str, Any]) -> None:
        before = curve[-1].seconds if curve else 0.0
        curve.append(Point(before + line["seconds"], time.perf_counter() - started, line["val_top1"]))

    with tempfile.TemporaryDirectory() as temporary:
        started = time.perf_counter()
        train(ModelConfig.from_name(name), config, data, Path(temporary) / "run", watcher=Watcher(on_epoch=on_epoch))
    return curve


def reached(curve: list[Point], accuracy: float) -> Point | None:
    """The first point that is as good."""
    return next((point for point in curve if point.accuracy >= accuracy), None)


def median(values: list[float | None]) -> float | None:
    """The median, where None is larger than any number."""
    middle = statistics.median_high([float("inf") if value is None else value for value in values])
    return None if middle == float("inf") else middle


def shown(value: float | None) -> str:
    """A number for the table."""
    return "never" if value is None else f"{value:.1f}"


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packed_baseline.add_data_options(parser)
    parser.add_argument("--n-epochs-baseline", type=int, default=8)
    parser.add_argument("--name", default=NAME, help="our model")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--n-epochs", type=int, default=2, help="of ours: the length of its schedule")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of TrainConfig, such as dropout=0.1")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="one training of ours for each")
    options = parser.parse_args()
    given: dict[str, Any] = {}
    for text in options.set:
        key, _, value = text.partition("=")
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    given = {"recipe": options.recipe, "n_epochs": options.n_epochs, **given}
    configs = [TrainConfig(**{**given, "seed": seed}) for seed in options.seeds]
    split = PositionSplit(options.n_train, options.n_val, 0)

    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary) / "data"
        prepare(options.folder, into, classes=parse_classes(options.classes), split=split)
        data = PreparedDataset(into)
        train_data, val_data = (packed_baseline.examples(data, part) for part in ("train", "val"))
        n_classes = len(data.classes)
        some = 4 * packed_baseline.BATCH_SIZE
        next(packed_baseline.train(train_data[:some], val_data[:some], n_classes, 1))
        ours = Apart(partial, train_ours, options.name, str(into))
        ours(TrainConfig(**{**given, "n_epochs": 1}))

        waiting, baseline = list(configs), []
        curves: list[list[Point]] = []
        for line in packed_baseline.train(train_data, val_data, n_classes, options.n_epochs_baseline):
            baseline.append(line)
            print(f"baseline, epoch {line.epoch}: accuracy {line.accuracy:.2%}, {line.seconds:.1f} s", flush=True)
            # Spread evenly over the baseline's epochs; what is left comes after the last.
            due = len(configs) * line.epoch // options.n_epochs_baseline
            while waiting and len(curves) < due:
                curves.append(ours(waiting.pop(0)))
                last = curves[-1][-1]
                print(f"ours: accuracy {last.accuracy:.2%} after {last.seconds:.1f} s", flush=True)
        ours.end()

    best = max(baseline, key=lambda line: line.accuracy)
    baseline_s = sum(line.seconds for line in baseline[: best.epoch])
    points = [reached(curve, best.accuracy) for curve in curves]
    ours_s = median([point and point.seconds for point in points])
    wall_s = median([point and point.wall_s for point in points])

    config = ModelConfig.from_name(options.name, n_classes=n_classes)
    result = {
        "n_threads": torch.get_num_threads(),
        "target_accuracy": best.accuracy,
        "baseline_seconds": baseline_s,
        "baseline_epoch": best.epoch,
        "baseline": [line._asdict() for line in baseline],
        "baseline_parameters": n_parameters(packed_baseline.PackedClassifier(n_classes)),
        "name": options.name,
        "parameters": n_parameters(StrokeClassifier(config)),
        "recipe": given,
        "seconds": ours_s,
        "seconds_wall": wall_s,
        "ratio": baseline_s / ours_s if ours_s else None,
        "ratio_wall": baseline_s / wall_s if wall_s else None,
        "ours": [
            {"seed": config.seed, "reached": point and point._asdict(), "curve": [each._asdict() for each in curve]}
            for config, point, curve in zip(configs, points, curves, strict=True)
        ],
    }
    table = Table("", "accuracy at the end", f"seconds to {best.accuracy:.2%}", "with all it does", title="Training")
    table.add_row("packed baseline", f"{baseline[-1].accuracy:.2%}", f"{baseline_s:.1f}", f"{baseline_s:.1f}")
    for each, curve, point in zip(configs, curves, points, strict=True):
        seconds, wall = (point.seconds, point.wall_s) if point else (None, None)
        table.add_row(f"ours, seed {each.seed}", f"{curve[-1].accuracy:.2%}", shown(seconds), shown(wall))
    table.add_row("ratio of the median", "", shown(result["ratio"]), shown(result["ratio_wall"]))
    Console(width=120).print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
