"""The baseline of time to accuracy: what a competent user of PyTorch would write, nothing slowed on purpose.

Two bidirectional nn.LSTM layers of 128 over packed sequences, the last hidden state of both directions, a linear layer;
drawings as float32 tensors in memory, a shuffling DataLoader that pads each batch of 128 to its longest, Adam 0.001.
How the drawings are read is not its subject: they come from a prepared dataset, the first 420 of each category to train
on and the next 80 to validate. `time_to_accuracy.py` trains it.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset

SAMPLE = str(Path(__file__).with_name("sample46.txt"))
MAX_PADDING = 100
BATCH_SIZE = 128

Examples = list[tuple[Tensor, int]]


class Epoch(NamedTuple):
    """One epoch: its number from 1, seconds of its training and validation, and the fraction recognised."""

    epoch: int
    seconds: float
    accuracy: float


def examples(data: PreparedDataset, split: str) -> Examples:
    """The points float32 (n, 3) and label of each drawing of a split; a dot is one row of zeros."""
    label_map = data.label_map(data.classes)
    found: Examples = []
    for index in data.indices(split):
        points, lengths, labels = batches.batch_of(data, index[None], label_map, MAX_PADDING)
        rows = torch.from_numpy(points[0]) if lengths[0] else torch.zeros(1, 3)
        found.append((rows, int(labels[0])))
    return found


def collate(batch: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """Points (B, T, 3) as long as the longest, their lengths (B,) and labels (B,)."""
    points, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(rows) for rows in points])
    return pad_sequence(list(points), batch_first=True), lengths, torch.tensor(labels)


class PackedClassifier(nn.Module):
    """Logits from where each direction of the last layer ends."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 128, num_layers=2, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * 128, n_classes)

    def forward(self, points: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, K) from points (B, T, 3) and lengths (B,)."""
        packed = pack_padded_sequence(points, lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)  # (2 layers * 2 directions, B, 128)
        return self.linear(torch.cat([hidden[-2], hidden[-1]], dim=1))


def train(train_data: Examples, val_data: Examples, n_classes: int, n_epochs: int, seed: int = 0) -> Iterator[Epoch]:
    """Trains from random weights; after each epoch yields it. What happens between two of them is not counted."""
    torch.manual_seed(seed)
    model = PackedClassifier(n_classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    generator = torch.Generator().manual_seed(seed)
    train_loader = DataLoader(train_data, BATCH_SIZE, shuffle=True, collate_fn=collate, generator=generator)  # type: ignore[arg-type]
    val_loader = DataLoader(val_data, BATCH_SIZE, collate_fn=collate)  # type: ignore[arg-type]
    for epoch in range(1, n_epochs + 1):
        started = time.perf_counter()
        model.train()
        for points, lengths, labels in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(points, lengths), labels).backward()
            optimizer.step()
        model.eval()
        n_right = 0
        with torch.no_grad():
            for points, lengths, labels in val_loader:
                n_right += int((model(points, lengths).argmax(1) == labels).sum())
        yield Epoch(epoch, time.perf_counter() - started, n_right / len(val_data))


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Which drawings: those of the 46 categories of the sample, the first of each file."""
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--classes", nargs="+", default=[SAMPLE])
    parser.add_argument("--n-train", type=int, default=420, help="drawings a category")
    parser.add_argument("--n-val", type=int, default=80, help="drawings a category")
