"""Evaluation of a model: exact counts over all drawings, by one of two protocols.

standard  evaluation mode: the result of a drawing depends on nothing but the drawing
2020      as the 2020 project measured: batch norm in training mode over drawings sorted by label, then by file order,
          so each batch is normalised by the statistics of its own one or two classes; no statistics are kept
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.config import former
from quickstroke.data import batches
from quickstroke.data.batches import Drawings
from quickstroke.data.on_device import DeviceData, on_device
from quickstroke.data.selection import LabelledDrawings
from quickstroke.errors import ConfigError, WeightsError
from quickstroke.evaluation.metrics import Evaluation
from quickstroke.kernels import threads
from quickstroke.models.classifier import StrokeClassifier, threads_for
from quickstroke.runtime.device import to_device
from quickstroke.runtime.distributed import ALONE, Group
from quickstroke.utils.compiled import calls_of
from quickstroke.utils.compiling import compile_calls

Protocol = Literal["standard", "2020"]

# Points of a batch on a CPU: enough for full speed, and few enough that its steps, or its images, stay in caches.
_POINTS_TOGETHER, _POINTS_TOGETHER_WITH_IMAGES = 1 << 14, 1 << 13
# Drawings that are enough to see what a model calls.
_FEW = 8
# A GPU has no such caches, and more to do at a time.
_BATCH_SIZE_ON_GPU = 4096

# Parts of each drawing's points that `evaluate_early` takes beside all of them.
FRACTIONS = (0.25, 0.5, 0.75)
# ... and of its strokes, as the bitmap networks in browsers are compared.
FRACTION_OF_STROKES = 0.6


def evaluate(
    model: StrokeClassifier,
    drawings: LabelledDrawings,
    *,
    protocol: Protocol = "standard",
    batch_size: int = 256,
    precision: torch.dtype = torch.float32,
    on_batch: Callable[[int], None] = lambda n: None,
    group: Group = ALONE,
    device_data: DeviceData | None = None,
) -> Evaluation:
    """Scores a model on N drawings; the model is as before afterwards.

    Args:
        batch_size: of the protocol `2020`, whose result depends on it; that of `standard` does not.
        precision: of the matrix products of a length-aware model on a CPU; with bfloat16 the guess for some drawings in
            a thousand may change.
        on_batch: called with the number of drawings after each batch.
        group: processes that share the batches; each has the whole result.
        device_data: the dataset of the drawings on the model's GPU; by default it is copied there.

    Raises:
        ConfigError: an unknown protocol.
    """
    former.refuse({"protocol": protocol})
    if protocol not in get_args(Protocol):
        raise ConfigError(f"protocol should be {' or '.join(map(repr, get_args(Protocol)))}, got {protocol!r:.60}")
    drawings = drawings.by_class()
    data, indices, labels = drawings.data, drawings.indices, drawings.labels
    device = next(model.parameters()).device
    device_data = on_device(data, device) if device_data is None else device_data
    kinds = torch.int64, torch.int64, torch.float64, torch.float64
    results = [torch.zeros(len(indices), dtype=kind, device=device) for kind in kinds]
    if protocol == "2020":
        order: Sequence[NDArray[np.int64]] = batches.cut(np.arange(len(indices)), batch_size)
    else:
        # Long ones first, so that threads end together.
        order = in_batches(model, data, indices)[::-1]

    def score(rows: NDArray[np.int64]) -> int:
        logits = logits_of(model, data, device_data, indices[rows])  # (B, K)
        if drawings.outputs is not None:
            logits = logits[:, to_device(drawings.outputs, device)]
        own, place = to_device(labels[rows], device).unsqueeze(1), to_device(rows, device)  # (B, 1), (B,)
        best, total = logits.argmax(1, keepdim=True), logits.logsumexp(1, keepdim=True)  # (B, 1)
        scores = logits.gather(1, own)  # (B, 1)
        probability, losses = (logits.gather(1, best) - total).exp(), total - scores  # (B, 1)
        for result, values in zip(results, (best, _ranks(logits, scores, own), probability, losses), strict=True):
            result[place] = values.squeeze(1)
        return len(rows)

    precision = precision if model.config.reading == "length-aware" else torch.float32
    with model.evaluating(precision, protocol == "2020"), threads_for(model), torch.inference_mode():
        if group.size == 1:
            compile_scoring(model, data, indices)
        shares = group.part(order)
        # By the protocol 2020 each batch changes the running statistics, so batches run one after the other.
        for n in threads.each(score, shares, device) if protocol == "standard" else map(score, shares):
            on_batch(n)
        arrays = [result.cpu().numpy() for result in results]
    group.all_reduce(*arrays)
    predicted, ranks, probability, losses = arrays
    return Evaluation(drawings.classes, indices, labels, predicted, probability, ranks, losses)


def check_finite(scores: Evaluation, name: str) -> None:
    """Raises WeightsError where a model gave logits that are not finite, of which no guess can be told."""
    if n := int((~np.isfinite(scores.losses)).sum()):
        raise WeightsError(f"{name}: its logits are not finite for {n:,} of {scores.n:,} drawings")


def in_batches(model: StrokeClassifier, data: Drawings, indices: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    """The places, from 0 to N - 1, of drawings (N,), in order of length, in batches as large as suits the device."""
    places, n_points = np.arange(len(indices)), batches.n_points_of(data, indices)
    if next(model.parameters()).device.type != "cpu":
        return batches.by_length(places, n_points, _BATCH_SIZE_ON_GPU)
    together = _POINTS_TOGETHER if model.config.image is None else _POINTS_TOGETHER_WITH_IMAGES
    return batches.by_length_of_points(places, n_points.clip(max=model.config.max_padding), together)


def compile_scoring(model: StrokeClassifier, data: Drawings, indices: NDArray[np.int64]) -> None:
    """Has what scores the drawings `indices` (N,) compiled, where it is not on disk yet; changes nothing.

    By itself each kernel would be compiled when it is first called, and one after the other.
    """
    if model.config.reading != "length-aware" or next(model.parameters()).device.type != "cpu" or not len(indices):
        return

    def run() -> None:
        with torch.inference_mode():
            logits_of(model, data, None, indices[:_FEW])

    compile_calls(threads.alone(partial(calls_of, run)))


def logits_of(
    model: StrokeClassifier,
    data: Drawings,
    device_data: DeviceData | None,
    indices: NDArray[np.int64],
) -> Tensor:
    """Logits float64 (B, K) of the drawings `indices` (B,), on the model's device.

    They are few, so double precision costs little and makes sums over them exact.

    Args:
        device_data: the same data on that device, if they are there.
    """
    config, device = model.config, next(model.parameters()).device
    if device_data:
        return cast(Tensor, model(*device_data.points_of(indices, config.max_padding, config.preprocessing))).double()
    points, lengths = batches.points_of(data, indices, config.max_padding, config.preprocessing)
    return cast(Tensor, model(to_device(points, device), to_device(lengths, device))).double()


def _ranks(logits: Tensor, scores: Tensor, own: Tensor) -> Tensor:
    """Classes before the true one, int64 (B, 1): those with a higher logit, and equal ones of a lower index.

    Args:
        logits: (B, K).
        scores: (B, 1), the true ones' logits.
        own: int64 (B, 1), the true ones.
    """
    earlier = torch.arange(logits.shape[1], device=logits.device) < own  # (B, K)
    return ((logits > scores) | ((logits == scores) & earlier)).sum(1, keepdim=True)


def evaluate_early(
    model: StrokeClassifier, drawings: LabelledDrawings, whole: Evaluation, *, precision: torch.dtype = torch.float32
) -> dict[str, dict[str, float]]:
    """Early recognition, as JSON and cards have it: accuracy by the fraction of each drawing that there is, rounded up.

    Args:
        whole: what `evaluate` found for the same drawings.
    """
    points = {f"{part:g}": evaluate(model, drawings.first_points(part), precision=precision) for part in FRACTIONS}
    points["1"] = whole
    strokes = evaluate(model, drawings.first_strokes(FRACTION_OF_STROKES), precision=precision)
    return {
        "top1_of_points": {part: scores.top(1) for part, scores in points.items()},
        "balanced_accuracy_of_points": {part: scores.balanced_accuracy() for part, scores in points.items()},
        **{f"top{k}_of_strokes": {f"{FRACTION_OF_STROKES:g}": strokes.top(k)} for k in (1, 3)},
    }
