"""The baseline of speed: the 2020 project's recipe as one would write it first, nothing slowed on purpose.

A pure-Python reader of the official binary files, one float32 tensor a drawing, everything padded to 100 rows in
memory, a DataLoader with batches of 256, nn.LSTM over all 100 steps. The other benchmarks import it.
"""

import struct
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from quickstroke.config.model import ModelConfig

MAX_PADDING = 100
BATCH_SIZE = 256


def read_strokes(path: Path, n: int) -> list[list[tuple[bytes, bytes]]]:
    """The strokes of the first `n` drawings of an official binary file, each (x, y) as bytes."""
    drawings = []
    with path.open("rb") as file:
        while len(drawings) < n and (head := file.read(15)):
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


def read(folder: Path, words: tuple[str, ...], n: int) -> TensorDataset:
    """The first `n` drawings of each word, as tensors."""
    points, labels = [], []
    for label, word in enumerate(words):
        for strokes in read_strokes(folder / f"{word}.bin", n):
            points.append(to_rows(strokes))
            labels.append(label)
    return TensorDataset(torch.stack(points), torch.tensor(labels))


def evaluate(model: nn.Module, data: TensorDataset) -> float:
    """Fraction of the drawings whose class comes first, in evaluation mode."""
    model.eval()
    n_right = 0
    with torch.no_grad():
        for points, labels in DataLoader(data, batch_size=BATCH_SIZE):
            n_right += (model(points).argmax(1) == labels).sum().item()
    return n_right / len(data)
