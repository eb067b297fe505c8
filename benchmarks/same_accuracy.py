"""Does the fast path cost accuracy? Trainings by it beside the same ones by float32 `nn.LSTM`, seed by seed.

    python benchmarks/same_accuracy.py FOLDER

Both read drawings length-aware, in batches of 256, from the same initial weights and in the same order; only the LSTM
differs: ours over true steps in bfloat16 where the processor has it, or PyTorch's over all steps of a batch in float32.
The same drawings as in time_to_accuracy.py: the first 420 of each category to train on, the next 80 to validate.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import packed_baseline
from quickstroke.categories import parse_classes
from quickstroke.config import ModelConfig, TrainConfig
from quickstroke.dataset import PositionSplit, PreparedDataset, prepare
from quickstroke.models import StrokeClassifier
from quickstroke.training import Watcher, train

NAME = "simple_lay1_sz64"


@contextmanager
def by_torch() -> Iterator[None]:
    """Models of one direction train with `nn.LSTM` inside."""
    ours = StrokeClassifier._last_packed

    def last(
        model: StrokeClassifier, x: torch.Tensor, ends: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        outputs, _ = model.lstm(model._convolve(x * scale + shift))  # (B, T, H)
        return outputs[torch.arange(len(x)), ends - 1]

    setattr(StrokeClassifier, ours.__name__, last)
    try:
        yield
    finally:
        setattr(StrokeClassifier, ours.__name__, ours)


def trained(model_config: ModelConfig, config: TrainConfig, data: PreparedDataset) -> dict[str, Any]:
    """Validation accuracy after the last epoch."""
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        train(model_config, config, data, Path(temporary) / "run", watcher=Watcher(on_epoch=lines.append))
    return {"accuracy": lines[-1]["val_top1"]}


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packed_baseline.add_data_options(parser)
    parser.add_argument("--name", default=NAME, help="a model of one direction")
    parser.add_argument("--n-epochs", type=int, default=15)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    model_config = ModelConfig.from_name(options.name)
    if model_config.bidirectional:
        parser.error(f"{options.name} has two directions")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary) / "data"
        split = PositionSplit(options.n_train, options.n_val, 0)
        prepare(options.folder, into, classes=parse_classes(options.classes), split=split)
        data = PreparedDataset(into)
        for seed in options.seeds:
            config = TrainConfig(n_epochs=options.n_epochs, learning_rate=options.learning_rate, seed=seed)
            ours = trained(model_config, config, data)
            with by_torch():
                theirs = trained(model_config, replace(config, precision="float32"), data)
            rows.append({"seed": seed, "ours": ours, "torch": theirs})
            print(f"seed {seed}: {ours['accuracy']:.2%}, by nn.LSTM {theirs['accuracy']:.2%}", flush=True)
    means = {way: statistics.fmean(row[way]["accuracy"] for row in rows) for way in ("ours", "torch")}
    table = Table("seed", "ours", "float32 nn.LSTM", "difference", title=options.name)
    for row in rows:
        mine, other = row["ours"], row["torch"]
        difference = mine["accuracy"] - other["accuracy"]
        table.add_row(
            str(row["seed"]),
            f"{mine['accuracy']:.2%}",
            f"{other['accuracy']:.2%}",
            f"{100 * difference:+.2f} points",
        )
    difference = means["ours"] - means["torch"]
    table.add_row("mean", f"{means['ours']:.2%}", f"{means['torch']:.2%}", f"{100 * difference:+.2f} points")
    Console(width=120).print(table)
    n_val = options.n_val * len(data.classes)
    facts = {"n_threads": torch.get_num_threads(), "name": options.name, "n_epochs": options.n_epochs, "n_val": n_val}
    print(json.dumps({**facts, "means": means, "difference": difference, "seeds": rows}))


if __name__ == "__main__":
    main()
