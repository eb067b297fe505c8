"""How fast does training go, against the plain recipe and against the processor?

    python benchmarks/training_speed.py FOLDER --classes benchmarks/sample46.txt

For each model, batches of the same 256 drawings are taken in turns by the plain recipe (plain_recipe.py: 100 padded
steps, float32), by the length-aware reading in float32 with torch.lstm, and by ours in float32 and bfloat16. A figure
is the median over the turns; ratios are of figures of one run. The matrix rate is that of products of the shapes of the
model's steps, in bfloat16, in the same run; the fraction counts the arithmetic of true steps only.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import plain_recipe
from quickstroke import batches, packed_lstm
from quickstroke.categories import parse_classes
from quickstroke.config import ModelConfig
from quickstroke.dataset import PositionSplit, PreparedDataset, prepare
from quickstroke.models import StrokeClassifier

NAMES = (
    "simple_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay2_sz64",
    "bilstm_lay1_sz128",
    "lstm_cv1_128_5_lay1_sz64",
)
N_TRAIN = 420


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def stepper(model: nn.Module, logits: Callable[[Any], torch.Tensor]) -> Callable[[Any, torch.Tensor], None]:
    """One training step: logits, loss, backward, Adam, the loss as a number."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    def step(points: Any, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits(points), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def last_by_torch(model: StrokeClassifier, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Each direction's output (B, D * H) at its own end, by torch.lstm."""
    x = model._outputs(x, ends)
    last = x[torch.arange(len(x)), ends - 1]
    n = model.config.hidden_size
    return torch.cat([last[:, :n], x[:, 0, n:]], dim=1) if model.config.bidirectional else last


def matrix_rate(config: ModelConfig) -> float:
    """Floating-point operations a second of the products that one step of the last layer makes, in bfloat16."""
    n_columns = config.hidden_size * (1 + (1 + config.bidirectional if config.n_layers > 1 else 0)) + 4
    z = torch.randn(plain_recipe.BATCH_SIZE, n_columns).bfloat16()
    weight = torch.randn(n_columns, 4 * config.hidden_size).bfloat16()
    product = torch.empty(len(z), weight.shape[1], dtype=torch.bfloat16)
    n = max(10, int(2e9 / (2 * z.numel() * weight.shape[1])))

    def run() -> None:
        for _ in range(n):
            torch.mm(z, weight, out=product)

    run()
    return 2 * z.numel() * weight.shape[1] * n / min(timed(run) for _ in range(5))


def operations(config: ModelConfig, lengths: np.ndarray) -> float:
    """Operations of the LSTM's products, forward and twice that backward, over true steps."""
    ends = np.maximum(lengths - config.receptive_field + 1, 1).sum()
    n_inputs = (config.conv2 or config.conv1 or (3, 0))[0]
    total = 0.0
    for _ in range(config.n_layers):
        directions = 1 + config.bidirectional
        total += directions * 3 * 2 * 4 * config.hidden_size * (n_inputs + config.hidden_size) * float(ends)
        n_inputs = directions * config.hidden_size
    return total


def measure(name: str, data: PreparedDataset, n_turns: int) -> dict[str, Any]:
    """Seconds a drawing of each way, and ratios."""
    torch.manual_seed(0)
    config = ModelConfig.from_name(name, n_classes=len(data.classes))
    plain = plain_recipe.PlainClassifier(config)
    models = {way: StrokeClassifier(config).train() for way in ("torch.lstm float32", "float32", "bfloat16")}
    models["bfloat16"].precision = torch.bfloat16
    models["torch.lstm float32"]._last_packed = partial(last_by_torch, models["torch.lstm float32"])  # type: ignore[method-assign]
    steps = {way: stepper(model, lambda batch, model=model: model(*batch)) for way, model in models.items()}
    plain_step = stepper(plain.train(), plain)

    rng = np.random.default_rng(0)
    label_map = data.label_map(data.classes)
    indices = data.indices("train")
    shuffled = batches.shuffled(indices, plain_recipe.BATCH_SIZE, rng)
    by_length = batches.shuffled_by_length(indices, data.n_points, plain_recipe.BATCH_SIZE, rng)
    seconds: dict[str, list[float]] = {way: [] for way in ("plain", *models)}
    n_operations: list[float] = []
    for turn in range(n_turns + 2):
        batch = batches.gather(data, shuffled[turn % (len(shuffled) - 1)], label_map, plain_recipe.MAX_PADDING)
        points = torch.zeros(len(batch.labels), plain_recipe.MAX_PADDING, 3)
        points[:, : batch.points.shape[1]] = torch.from_numpy(batch.points)
        labels = torch.from_numpy(batch.labels)
        taken = {"plain": timed(lambda: plain_step(points, labels))}  # noqa: B023
        batch = batches.gather(data, by_length[turn % (len(by_length) - 1)], label_map, plain_recipe.MAX_PADDING)
        pair, labels = (torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)), torch.from_numpy(batch.labels)
        for way, step in steps.items():
            taken[way] = timed(lambda: step(pair, labels))  # noqa: B023
        if turn >= 2:  # the first turns compile and take memory
            for way, value in taken.items():
                seconds[way].append(value)
            n_operations.append(operations(config, batch.lengths))
    # Batches differ in length: sums over the same turns, as an epoch has them.
    totals = {way: statistics.fmean(values) for way, values in seconds.items()}
    rate = matrix_rate(config)
    return {
        "name": name,
        **{f"ratio {way}": totals["plain"] / totals[way] for way in models},
        "plain_ms": 1000 * totals["plain"],
        "bfloat16_ms": 1000 * totals["bfloat16"],
        "matrix_gflops": rate / 1e9,
        "fraction": statistics.fmean(n_operations) / totals["bfloat16"] / rate,
    }


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--classes", nargs="+", default=["seed100"])
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--n-turns", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary) / "data"
        prepare(options.folder, into, classes=parse_classes(options.classes), split=PositionSplit(N_TRAIN, 0, 0))
        data = PreparedDataset(into)
        rows = [measure(name, data, options.n_turns) for name in options.names]
    columns = list(rows[0])
    table = Table(*columns, title=f"Training, {torch.get_num_threads()} threads, batches of {plain_recipe.BATCH_SIZE}")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)
    facts = {"n_threads": torch.get_num_threads(), "torch": torch.__version__, "parts": packed_lstm.n_parts()}
    print(json.dumps({**facts, "models": rows}))


if __name__ == "__main__":
    main()
