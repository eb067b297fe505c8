"""How fast does training go, against the plain recipe and against the processor?

    python benchmarks/training_speed.py FOLDER --classes benchmarks/sample46.txt

For each model, batches of 256 drawings are taken by the plain recipe (plain_recipe.py: 100 padded steps, float32), by
the length-aware reading in float32 with torch.lstm, and by ours in float32 and bfloat16, each in a process of its own,
ten steps of each in turn, for 40 seconds and at least four turns. In place of the plain recipe, models that read all
points, such as the default one, are compared with PyTorch's own layers: float32, packed sequences, batches in random
order; our code draws the images.

A figure is the mean over all steps; ratios are of figures of one run. The matrix rate is that of products of the shapes
of the model's steps, in bfloat16, in the same run; the fraction counts the arithmetic of true steps only.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import plain_recipe
from apart import Apart
from quickstroke.config.model import ModelConfig
from quickstroke.data import batches
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.splits import PositionSplit
from quickstroke.drawings.categories import parse_classes
from quickstroke.models import image_branch
from quickstroke.models.classifier import StrokeClassifier, threads_for
from quickstroke.preparation.prepare import prepare

NAMES = (
    "simple_lay1_sz64",
    "simple_lay1_sz256",
    "simple_lay2_sz64",
    "bilstm_lay1_sz128",
    "lstm_cv1_128_5_lay1_sz64",
    "bipool_cv1_64_5_cv2_96_5_4_img32_lay2_sz96",
)
N_TRAIN = 420
# Of a turn.
N_STEPS = 10
LEAST_SECONDS = 40  # of a model's turns: of short steps more, which a disturbance would change more


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


def last_by_torch(
    model: StrokeClassifier, x: torch.Tensor, ends: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """Each direction's output (B, D * H) at its own end, by torch.lstm."""
    x = model._outputs(model._convolve(x * scale + shift), ends)
    last = x[torch.arange(len(x)), ends - 1]
    n = model.config.hidden_size
    return torch.cat([last[:, :n], x[:, 0, n:]], dim=1) if model.config.bidirectional else last


def by_layers(model: StrokeClassifier, points: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) of a model that reads all points, by PyTorch's layers."""
    mask = torch.arange(points.shape[1]) < lengths[:, None]  # (B, T)
    x, ends = model._convolve_normalized(model.bn(points, mask), lengths)
    packed = pack_padded_sequence(x, ends, batch_first=True, enforce_sorted=False)
    x, _ = pad_packed_sequence(model.lstm(packed)[0], batch_first=True)  # (B, T', 2H)
    read = model._pool(x, ends)
    if model.image is not None:
        weights = [weight for part in (model.image.convs, model.image.norms) for weight in part.parameters()]
        images = image_branch._layers(image_branch.drawn(points, lengths), torch.float32, weights)
        read = torch.cat([read, image_branch._read(images, torch.float32)], 1)
    return model.linear(read)


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
    n_inputs = 3 * config.receptive_field  # of linear convolutions the LSTM reads what they see
    total = 0.0
    for _ in range(config.n_layers):
        directions = 1 + config.bidirectional
        total += directions * 3 * 2 * 4 * config.hidden_size * (n_inputs + config.hidden_size) * float(ends)
        n_inputs = directions * config.hidden_size
    return total


def ways_of(name: str) -> tuple[str, ...]:
    """How a model is trained; the others are compared with the first."""
    layers = ("layers",) if name.startswith("bipool") else ("plain", "torch.lstm float32")
    return (*layers, "float32", "bfloat16")


def make_steps(way: str, name: str, folder: str) -> Callable[[int], list[tuple[float, float]]]:
    """A function of a turn's number: for each of its steps the seconds, and the operations of true steps."""
    torch.manual_seed(0)
    data = PreparedDataset(folder)
    config = ModelConfig.from_name(name, n_classes=len(data.classes))
    rng, indices, label_map = np.random.default_rng(0), data.indices("train"), data.label_map(data.classes)
    at_random = batches.shuffled(indices.copy(), plain_recipe.BATCH_SIZE, rng)
    by_length = batches.shuffled_by_length(indices.copy(), data.n_points.__getitem__, plain_recipe.BATCH_SIZE, rng)
    model: Any
    if way == "plain":
        model = plain_recipe.PlainClassifier(config).train()
        step, threads = stepper(model, model), nullcontext
    else:
        precision = torch.bfloat16 if way == "bfloat16" else torch.float32
        model = StrokeClassifier(config, precision=precision).train()
        step, threads = stepper(model, lambda batch: model(*batch)), partial(threads_for, model)
        if way == "layers":
            step, threads = stepper(model, lambda batch: by_layers(model, *batch)), nullcontext
        if way.startswith("torch"):
            model._last_packed = partial(last_by_torch, model)
            threads = nullcontext

    order = at_random if way in ("plain", "layers") else by_length

    def one(number: int) -> tuple[float, float]:
        rows = order[number % (len(order) - 1)]
        batch = batches.batch_of(data, rows, label_map, config.max_padding, config.preprocessing)
        labels = torch.from_numpy(batch.labels)
        points: Any = torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)
        if way == "plain":
            points = torch.zeros(len(labels), plain_recipe.MAX_PADDING, 3)
            points[:, : batch.points.shape[1]] = torch.from_numpy(batch.points)
        n_operations = 0.0 if config.readout == "pool" else operations(config, batch.lengths)
        return timed(lambda: step(points, labels)), n_operations

    def some(turn: int) -> list[tuple[float, float]]:
        first = turn * (N_STEPS + 1)
        with threads():
            return [one(first + k) for k in range(N_STEPS + 1)][1:]  # caches are another's before the first

    return some


def measure(name: str, folder: str, n_turns: int) -> dict[str, Any]:
    """Milliseconds a step of each way, and ratios."""
    ways = ways_of(name)
    steps = {way: Apart(make_steps, way, name, folder) for way in ways}
    rate_of = Apart(partial, matrix_rate, ModelConfig.from_name(name))
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    rates = []
    started = time.perf_counter()
    for turn in itertools.count():
        if turn > n_turns and time.perf_counter() - started > LEAST_SECONDS:
            break
        for way, step in steps.items():
            taken = step(turn)
            if turn:  # the first turn compiles and takes memory
                found[way] += taken
        rates.append(rate_of())
    for process in (*steps.values(), rate_of):
        process.end()
    # Batches differ in length: sums over the same turns, as an epoch has them.
    totals = {way: statistics.fmean(seconds for seconds, _ in each) for way, each in found.items()}
    n_operations = statistics.fmean(operations for _, operations in found["bfloat16"])
    rate = max(rates)
    return {
        "name": name,
        "against": ways[0],
        **{f"ratio {way}": totals[ways[0]] / totals[way] for way in ways[1:]},
        "against_ms": 1000 * totals[ways[0]],
        "bfloat16_ms": 1000 * totals["bfloat16"],
        **({"matrix_gflops": rate / 1e9, "fraction": n_operations / totals["bfloat16"] / rate} if n_operations else {}),
    }


def main() -> None:
    """Prints a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of official binary files")
    parser.add_argument("--classes", nargs="+", default=["classes2020"])
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--n-turns", type=int, default=4, help="at least")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        into = Path(temporary) / "data"
        prepare(options.folder, into, classes=parse_classes(options.classes), split=PositionSplit(N_TRAIN, 0, 0))
        rows = [measure(name, str(into), options.n_turns) for name in options.names]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=f"Training, {torch.get_num_threads()} threads, batches of {plain_recipe.BATCH_SIZE}")
    for row in rows:
        values = (row.get(column, "") for column in columns)
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in values))
    Console(width=160).print(table)
    facts = {"n_threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps({**facts, "models": rows}))


if __name__ == "__main__":
    main()
