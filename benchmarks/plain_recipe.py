"""The baseline of speed: the 2020 project's recipe as one would write it first, nothing slowed on purpose.

    python benchmarks/plain_recipe.py FOLDER --name simple_lay1_sz64 --classes benchmarks/sample46.txt

A pure-Python reader of the official binary files, one float32 tensor a drawing, everything padded to 100 rows in
memory, a shuffling DataLoader with batches of 256, nn.LSTM over all 100 steps, Adam, `loss.item()` at each step. The
other benchmarks import it.
"""

import argparse
import json
import struct
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from quickstroke.config.model import ModelConfig
from quickstroke.drawings.categories import parse_classes

MAX_PADDING = 100
BATCH_SIZE = 256


def read_strokes(path: Path, n: int | None = None) -> list[list[tuple[bytes, bytes]]]:
    """The strokes of the first `n` drawings of an official binary file, each (x, y) as bytes."""
    drawings = []
    with path.open("rb") as file:
        while (n is None or len(drawings) < n) and (head := file.read(15)):
            _key_id, _country, _recognized, _timestamp = struct.unpack("<Q2sbI", head)
            (n_strokes,) = struct.unpack("<H", file.read(2))
            strokes = []
            for _ in range(n_strokes):
                (n_points,) = struct.unpack("<H", file.read(2))
                strokes.append((file.read(n_points), file.read(n_points)))
            drawings.append(strokes)
    return drawings


def to_rows(strokes: list[tuple[bytes, bytes]]) -> Tensor:
    """The points float32 (100, 3) of one drawing: scaled differences and the end of each stroke, padded with zeros."""
    x = torch.tensor([value for xs, _ in strokes for value in xs], dtype=torch.float32)
    y = torch.tensor([value for _, ys in strokes for value in ys], dtype=torch.float32)
    up = torch.tensor([float(i == len(xs) - 1) for xs, _ in strokes for i in range(len(xs))])
    x = (x - x.min()) / ((x.max() - x.min()) or 1)
    y = (y - y.min()) / ((y.max() - y.min()) or 1)
    rows = torch.stack([x[1:] - x[:-1], y[1:] - y[:-1], up[1:]], dim=1)[:MAX_PADDING]
    padded = torch.zeros(MAX_PADDING, 3)
    padded[: len(rows)] = rows
    return padded


class PlainClassifier(nn.Module):
    """Batch norm, convolutions, LSTM, and a linear layer on the last, usually padded, step."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(3)
        n_channels = 3
        self.convolutions = nn.Sequential()
        for convolution in filter(None, (config.conv1, config.conv2)):
            self.convolutions.append(nn.Conv1d(n_channels, *convolution))
            n_channels = convolution[0]
        self.lstm = nn.LSTM(
            n_channels, config.hidden_size, config.n_layers, batch_first=True, bidirectional=config.bidirectional
        )
        self.linear = nn.Linear((1 + config.bidirectional) * config.hidden_size, config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) from points (B, 100, 3)."""
        x = self.convolutions(self.bn(x.mT)).mT
        return self.linear(self.lstm(x)[0][:, -1])


def read(folder: Path, words: tuple[str, ...], first: int, n: int) -> TensorDataset:
    """`n` drawings of each word from the one at `first`, as tensors."""
    points, labels = [], []
    for label, word in enumerate(words):
        for strokes in read_strokes(folder / f"{word}.bin", first + n)[first:]:
            points.append(to_rows(strokes))
            labels.append(label)
    return TensorDataset(torch.stack(points), torch.tensor(labels))


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: TensorDataset) -> float:
    """One pass over the drawings; the mean loss."""
    model.train()
    total = 0.0
    for points, labels in DataLoader(data, batch_size=BATCH_SIZE, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(points), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(data)


def evaluate(model: nn.Module, data: TensorDataset) -> float:
    """Fraction of the drawings whose class comes first, in evaluation mode."""
    model.eval()
    n_right = 0
    with torch.no_grad():
        for points, labels in DataLoader(data, batch_size=BATCH_SIZE):
            n_right += (model(points).argmax(1) == labels).sum().item()
    return n_right / len(data)


def main() -> None:
    """Trains one model and prints its lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--name", default="simple_lay1_sz64")
    parser.add_argument("--classes", nargs="+", default=["classes2020"])
    parser.add_argument("--n-train", type=int, default=420)
    parser.add_argument("--n-val", type=int, default=80)
    parser.add_argument("--n-epochs", type=int, default=5)
    options = parser.parse_args()
    words = parse_classes(options.classes)
    torch.manual_seed(0)
    started = time.perf_counter()
    train = read(options.folder, words, 0, options.n_train)
    val = read(options.folder, words, options.n_train, options.n_val)
    print(f"read {len(train) + len(val)} drawings in {time.perf_counter() - started:.1f} s")
    model = PlainClassifier(ModelConfig.from_name(options.name, n_classes=len(words)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    lines = []
    for epoch in range(options.n_epochs):
        started = time.perf_counter()
        loss = train_epoch(model, optimizer, train)
        seconds = time.perf_counter() - started
        lines.append({"epoch": epoch + 1, "loss": loss, "val_top1": evaluate(model, val), "train_seconds": seconds})
        print(f"epoch {epoch + 1}: loss {loss:.3f}, accuracy {lines[-1]['val_top1']:.2%}, {seconds:.1f} s")
    print(json.dumps({"name": options.name, "epochs": lines}))


if __name__ == "__main__":
    main()
