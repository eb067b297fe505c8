"""Evaluation of a model: exact counts over all drawings, by one of two protocols (`protocol`)."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.data import batches
from quickstroke.data.batches import Drawings
from quickstroke.data.memory import first_points
from quickstroke.data.on_device import OnDevice, on_device
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.evaluation.protocol import Protocol, check_protocol
from quickstroke.kernels import threads
from quickstroke.models.classifier import StrokeClassifier, threads_for
from quickstroke.runtime.device import put
from quickstroke.runtime.distributed import ALONE, Group

# Large enough for full speed on a CPU, small enough for 100 steps of a wide model to fit the caches.
BATCH_SIZE = 512
# A GPU has no such caches, and more to do at a time.
_BATCH_SIZE_ON_GPU = 4096

# Of how much of a drawing `evaluate_partial` takes.
FRACTIONS = (0.25, 0.5, 0.75, 1.0)


def evaluate(
    model: StrokeClassifier,
    data: Drawings,
    indices: NDArray[np.int64],
    classes: Sequence[str],
    label_map: NDArray[np.int64],
    *,
    protocol: Protocol = "standard",
    batch_size: int = 256,
    precision: torch.dtype = torch.float32,
    on_batch: Callable[[int], None] = lambda n: None,
    group: Group = ALONE,
    there: OnDevice | None = None,
) -> Evaluation:
    """Scores a model on the drawings `indices` (N,), N at least 1; the model is as before afterwards.

    Args:
        label_map: the model's label, 0 or more, of each label of the data.
        batch_size: of the protocol `2020`, whose result depends on it; that of `standard` does not.
        precision: of the matrix products of a length-aware model on a CPU; with bfloat16 a drawing in some thousands
            may change sides.
        on_batch: called with the number of drawings after each batch.
        group: processes that share the batches; each has the whole result.
        there: the same data on a GPU that the model is on; by default they are brought there.
    """
    check_protocol(protocol)
    indices = indices[np.lexsort((indices, label_map[data.labels[indices]]))]
    labels = label_map[data.labels[indices]]
    device = next(model.parameters()).device
    there = on_device(data, device) if there is None else there
    results = [torch.zeros(len(indices), dtype=kind, device=device) for kind in (torch.int64, torch.int64)]
    results += [torch.zeros(len(indices), dtype=torch.float64, device=device) for _ in range(2)]
    everything = np.arange(len(indices))
    if protocol == "2020":
        order: Sequence[NDArray[np.int64]] = batches.cut(everything, batch_size)
    else:
        size = BATCH_SIZE if device.type == "cpu" else _BATCH_SIZE_ON_GPU
        order = batches.by_length(everything, data.n_points[indices], size)[
            ::-1
        ]  # long ones first: threads end together

    def score(rows: NDArray[np.int64]) -> int:
        logits = logits_of(model, data, there, indices[rows])  # (B, K)
        own, place = put(labels[rows], device).unsqueeze(1), put(rows, device)  # (B, 1), (B,)
        best, total = logits.argmax(1, keepdim=True), logits.logsumexp(1, keepdim=True)  # (B, 1)
        scores = logits.gather(1, own)  # (B, 1)
        probability, losses = (logits.gather(1, best) - total).exp(), total - scores  # (B, 1)
        for result, values in zip(results, (best, _ranks(logits, scores, own), probability, losses), strict=True):
            result[place] = values.squeeze(1)
        return len(rows)

    with evaluation_mode(model, protocol, precision), threads_for(model), torch.inference_mode():
        shares = group.part(order)
        # By the protocol 2020 each batch changes the running statistics, so batches run one after the other.
        for n in threads.each(score, shares, device) if protocol == "standard" else map(score, shares):
            on_batch(n)
        arrays = [result.cpu().numpy() for result in results]
    group.fill(*arrays)
    predicted, ranks, probability, losses = arrays
    return Evaluation(tuple(classes), indices, labels, predicted, probability, ranks, losses)


def logits_of(
    model: StrokeClassifier,
    data: Drawings,
    there: OnDevice | None,
    indices: NDArray[np.int64],
) -> Tensor:
    """Logits float64 (B, K) of the drawings `indices` (B,), on the model's device, `there` too if they are.

    Few numbers and exact sums: double precision, whatever the model ran in.
    """
    config, device = model.config, next(model.parameters()).device
    if there:
        return cast(Tensor, model(*there.gather(indices, config.max_padding, config.preprocessing))).double()
    points, lengths = batches.points_of(data, indices, config.max_padding, config.preprocessing)
    return cast(Tensor, model(put(points, device), put(lengths, device))).double()


def _ranks(logits: Tensor, scores: Tensor, own: Tensor) -> Tensor:
    """Classes before the true one, int64 (B, 1): those with a higher logit, and equal ones of a lower index.

    Args:
        logits: (B, K).
        scores: (B, 1), the true ones' logits.
        own: int64 (B, 1), the true ones.
    """
    earlier = torch.arange(logits.shape[1], device=logits.device) < own  # (B, K)
    return ((logits > scores) | ((logits == scores) & earlier)).sum(1, keepdim=True)


def evaluate_partial(
    model: StrokeClassifier,
    data: Drawings,
    indices: NDArray[np.int64],
    classes: Sequence[str],
    label_map: NDArray[np.int64],
    *,
    precision: torch.dtype = torch.float32,
) -> dict[float, Evaluation]:
    """As `evaluate`, after each of `FRACTIONS` of every drawing's points, rounded up."""
    everything = np.arange(len(indices))
    return {
        fraction: evaluate(
            model, first_points(data, indices, fraction), everything, classes, label_map, precision=precision
        )
        for fraction in FRACTIONS
    }


def figures_of_points(partial: dict[float, Evaluation]) -> dict[str, dict[str, float]]:
    """What `evaluate_partial` found, for JSON and cards: top-1 and balanced accuracy."""
    return {
        "top1_of_points": {f"{fraction:g}": part.top(1) for fraction, part in partial.items()},
        "balanced_accuracy_of_points": {
            f"{fraction:g}": part.balanced_accuracy() for fraction, part in partial.items()
        },
    }


class evaluation_mode:
    """Puts a model into the mode that a protocol evaluates in, and back, statistics included."""

    def __init__(self, model: StrokeClassifier, protocol: Protocol, precision: torch.dtype = torch.float32) -> None:
        self._model, self._protocol, self._precision = model, protocol, precision

    def __enter__(self) -> None:
        self._was_training = self._model.training
        self._statistics = [buffer.clone() for buffer in self._model.bn.buffers()]
        self._group, self._model.bn.group = self._model.bn.group, ALONE
        self._before, self._model.precision_without_gradient = self._model.precision_without_gradient, self._precision
        self._model.eval()
        self._model.bn.train(self._protocol == "2020")

    def __exit__(self, *_: object) -> None:
        for buffer, saved in zip(self._model.bn.buffers(), self._statistics, strict=True):
            buffer.copy_(saved)
        self._model.bn.group = self._group
        self._model.precision_without_gradient = self._before
        self._model.train(self._was_training)
