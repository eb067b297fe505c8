"""How accurate is what `quickstroke train` gives by default, beside what a competent stranger would write?

    python benchmarks/accuracy.py FOLDER

The stranger's way is `plain` below: some twenty lines around `nn.LSTM` that share no code with ours but the reading
of the files. Points standardised by fixed numbers, Adam with its usual learning rate, batches of 256, the output read
at the last point of each drawing. Ours is `TrainConfig` as it is, with the number of epochs alone. Both learn from the
same drawings for as many epochs: the first 420 of each of 46 categories, with the next 80 to validate on. Each training
runs in a process of its own. It takes an hour on two cores; with --keep FILE a run that was cut goes on.
"""

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import packed_baseline
from apart import Apart
from quickstroke.config.model import ModelConfig
from quickstroke.config.serialize import to_json
from quickstroke.config.training import TrainConfig
from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.categories import parse_classes
from quickstroke.preparation.prepare import prepare
from quickstroke.training.loop import train
from quickstroke.training.session import Watcher
from quickstroke.utils.files import write_text

NAMES = ("simple_lay1_sz64", "simple_lay1_sz256", "simple_lay2_sz64")
MAX_POINTS = 100


class Plain(nn.Module):
    """An LSTM and a linear layer on its output at the last point."""

    def __init__(self, n_layers: int, hidden_size: int, n_classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, hidden_size, n_layers, batch_first=True)
        self.linear = nn.Linear(hidden_size, n_classes)

    def forward(self, points: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, K) from points (B, T, 3) and lengths (B,)."""
        outputs, _ = self.lstm(points)  # (B, T, H)
        return self.linear(outputs[torch.arange(len(points)), lengths - 1])


def plain(train_data: TensorDataset, val_data: TensorDataset, model: Plain, n_epochs: int) -> float:
    """Trains on points (N, T, 3), lengths (N,) and labels (N,); the fraction of `val_data` that it gets right."""
    points, lengths, _ = train_data.tensors
    true = points[torch.arange(points.shape[1]) < lengths[:, None]]
    mean, std = true.mean(0), true.std(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(n_epochs):
        for points, lengths, labels in DataLoader(train_data, batch_size=256, shuffle=True):
            logits = model((points[:, : lengths.max()] - mean) / std, lengths)
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
    with torch.no_grad():
        parts = DataLoader(val_data, batch_size=256)
        n_right = sum(int((model((x - mean) / std, n).argmax(1) == y).sum()) for x, n, y in parts)
    return n_right / len(val_data)


def tensors(data: PreparedDataset, split: str) -> TensorDataset:
    """The drawings of a split, padded with zeros; a dot is one row of them."""
    indices = data.indices(split)
    points, lengths, labels = batches.batch_of(data, indices, data.label_map(data.classes), MAX_POINTS)
    return TensorDataset(torch.from_numpy(points), torch.from_numpy(lengths).clamp(min=1), torch.from_numpy(labels))


def by_plain(folder: str, name: str, n_epochs: int, seed: int) -> float:
    """The validation accuracy after a training the plain way."""
    data, shape = PreparedDataset(folder), ModelConfig.from_name(name)
    torch.manual_seed(seed)
    model = Plain(shape.n_layers, shape.hidden_size, len(data.classes))
    return plain(tensors(data, "train"), tensors(data, "val"), model, n_epochs)


def by_default(folder: str, name: str, n_epochs: int, seed: int) -> float:
    """The validation accuracy after the last epoch of a training by default."""
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        config = TrainConfig(n_epochs=n_epochs, seed=seed)
        watcher = Watcher(on_epoch=lines.append)
        train(ModelConfig.from_name(name), config, PreparedDataset(folder), Path(temporary) / "run", watcher=watcher)
    return float(lines[-1]["val_top1"])


WAYS = {"plain": by_plain, "ours": by_default}


def trained(kept: Path | None, known: dict[str, float], way: str, *task: Any) -> float:
    """What a training comes to, which is looked up where an earlier run of the benchmark has done it."""
    _, name, n_epochs, seed = task
    key = f"{way} {name}, {n_epochs} epochs, seed {seed}"
    if way == "ours":  # another recipe is another training
        key += f", {json.dumps(to_json(TrainConfig(n_epochs=n_epochs, seed=seed)))}"
    if key not in known:
        apart = Apart(partial, WAYS[way])
        known[key] = apart(*task)
        apart.end()
        if kept:
            write_text(kept, json.dumps(known, indent=1) + "\n")
    print(f"{way}, {name}, seed {seed}: {known[key]:.2%}", flush=True)
    return known[key]


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    packed_baseline.add_data_options(parser)
    parser.add_argument("--names", nargs="+", default=NAMES, help="models of one direction without convolutions")
    parser.add_argument("--n-epochs", type=int, default=6)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="both, for the table")
    parser.add_argument("--keep", type=Path, help="a file of trainings that are done, for a run that was cut to go on")
    options = parser.parse_args()
    known: dict[str, float] = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    found: dict[str, dict[str, list[float]]] = {name: {way: [] for way in options.ways} for name in options.names}
    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary) / "data"
        split = PositionSplit(options.n_train, options.n_val, 0)
        prepare(options.folder, into, classes=parse_classes(options.classes), split=split)
        for seed in options.seeds:
            for name in options.names:
                for way in options.ways:
                    task = str(into), name, options.n_epochs, seed
                    found[name][way].append(trained(options.keep, known, way, *task))
        n_val = len(PreparedDataset(into).indices("val"))
    if len(options.ways) < len(WAYS):
        return
    title = f"Validation accuracy after {options.n_epochs} epochs, seeds {', '.join(map(str, options.seeds))}"
    table = Table("model", "plain nn.LSTM", "ours by default", "ratio of the means", title=title)
    rows = []
    for name, ways in found.items():
        means = {way: statistics.fmean(values) for way, values in ways.items()}
        ratio = means["ours"] / means["plain"]
        cells = (f"{means[way]:.1%} ({', '.join(f'{value:.1%}' for value in ways[way])})" for way in WAYS)
        table.add_row(name, *cells, f"{ratio:.2f}")
        rows.append({"name": name, **ways, "means": means, "ratio": ratio})
    Console(width=120).print(table)
    facts = {"n_epochs": options.n_epochs, "seeds": options.seeds, "n_val": n_val}
    print(json.dumps({**facts, "recipe": to_json(TrainConfig(n_epochs=options.n_epochs)), "models": rows}))


if __name__ == "__main__":
    main()
