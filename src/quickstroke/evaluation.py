"""How well a model recognises drawings: exact counts over every one of them, by two protocols.

honest     evaluation mode; nothing depends on batches
published  what the 2020 project did: batch norm in training mode over drawings sorted by label, then file order,
           so that each batch is normalised by its own one or two classes; no statistics are kept
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from quickstroke import batches, threads
from quickstroke.batches import Drawings
from quickstroke.config import Criterion
from quickstroke.dataset import first_points
from quickstroke.intervals import wilson_interval
from quickstroke.models import StrokeClassifier, threads_for
from quickstroke.on_device import OnDevice, on_device, put
from quickstroke.parallel import ALONE, Group

Protocol = Literal["honest", "published"]

# Large enough for full speed on a CPU, small enough for 100 steps of a wide model to fit the caches.
_BATCH_SIZE = 512
# A GPU has no such caches, and more to do at a time.
_BATCH_SIZE_ON_GPU = 4096

# Of the temperatures that a calibration finds: by it all classes are as good as equally probable.
HIGHEST_TEMPERATURE = 1000.0
# Of the calibration error.
N_BINS = 15
_N_STRENGTHS = 21  # of the logit adjustment that are tried, 0 among them
# Of how much of a drawing `evaluate_partial` takes.
FRACTIONS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Metrics of one model over N drawings of K classes; sums over every drawing, divided once.

    Attributes:
        classes: the K words.
        indices: int64 (N,), which drawings of the data.
        labels: int64 (N,), the true class of each.
        predicted: int64 (N,), the class with the highest logit.
        probability: float64 (N,), the softmax probability of `predicted`.
        ranks: int64 (N,), how many classes the model prefers to the true one.
        losses: float64 (N,), the cross entropy of each in nats.
    """

    classes: tuple[str, ...]
    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    ranks: NDArray[np.int64]
    losses: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Drawings evaluated."""
        return len(self.labels)

    @property
    def loss(self) -> float:
        """The mean cross entropy in nats."""
        return float(self.losses.mean())

    def balanced_loss(self) -> float:
        """The same with every class counting alike: the mean over those that have any drawing."""
        return self._class_mean(self.losses)

    def top(self, k: int) -> float:
        """Fraction of drawings whose class is among the model's first k."""
        return int((self.ranks < k).sum()) / self.n

    def balanced(self) -> float:
        """Top-1 with every class counting alike, however many drawings it has: the mean over those that have any."""
        return self._class_mean(self.ranks == 0)

    def interval(self) -> tuple[float, float]:
        """The 95% interval of top-1."""
        return wilson_interval(int((self.ranks == 0).sum()), self.n)

    def balanced_interval(self) -> tuple[float, float]:
        """The 95% interval of top-1 with every class counting alike: that of Kish's effective number of drawings, which
        is few where many classes have few."""
        n = np.bincount(self.labels)
        n_effective = float((n > 0).sum() ** 2 / (1 / n[n > 0]).sum())
        return wilson_interval(self.balanced() * n_effective, n_effective)

    def _class_mean(self, values: NDArray[Any]) -> float:
        n = np.bincount(self.labels)
        return float((np.bincount(self.labels, values)[n > 0] / n[n > 0]).mean())

    def calibration_error(self, *, balanced: bool = False) -> float:
        """Expected calibration error of the top guess: 15 bins of equal width (Guo et al., 2017, section 2).

        Args:
            balanced: every class counts alike, however many drawings it has; by default every drawing does.
        """
        weights = _class_weights(self.labels) if balanced else np.ones(self.n)
        return _calibration_error(self.probability, self.ranks == 0, weights)

    def figures(self) -> dict[str, float | int]:
        """The metrics as they stand in JSON: fractions, with 95% intervals of top-1, loss, and n drawings."""
        low, high = self.interval()
        balanced_low, balanced_high = self.balanced_interval()
        return {
            "top1": self.top(1),
            "top3": self.top(3),
            "top5": self.top(5),
            "top1_low": low,
            "top1_high": high,
            "balanced_accuracy": self.balanced(),
            "balanced_accuracy_low": balanced_low,
            "balanced_accuracy_high": balanced_high,
            "calibration_error": self.calibration_error(),
            "loss": self.loss,
            "n": self.n,
        }

    def confusion(self) -> NDArray[np.int64]:
        """The confusion matrix, int64 (K, K) in the order of `classes`: drawings of the row's class that were taken for
        the column's."""
        n_classes = len(self.classes)
        counts = np.bincount(self.labels * n_classes + self.predicted, minlength=n_classes**2)
        return counts.reshape(n_classes, n_classes)

    def n_by_class(self) -> NDArray[np.int64]:
        """Drawings of each class, int64 (K,) in the order of `classes`."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def n_right_by_class(self) -> NDArray[np.int64]:
        """Drawings of each class that were recognised, int64 (K,)."""
        right = self.labels[self.predicted == self.labels]
        return np.bincount(right, minlength=len(self.classes)).astype(np.int64)

    def accuracy_by_class(self) -> NDArray[np.float64]:
        """Top-1 of each class, float64 (K,) from 0 to 1; not a number (NaN) for a class without a drawing."""
        n = self.n_by_class()
        return np.where(n > 0, self.n_right_by_class() / np.maximum(n, 1), np.nan)

    def per_class(self) -> dict[str, tuple[int, int]]:
        """For each class, (drawings recognised, drawings)."""
        confusion = self.confusion()
        pairs = zip(np.diag(confusion).tolist(), confusion.sum(axis=1).tolist(), strict=True)
        return dict(zip(self.classes, pairs, strict=True))


def evaluate(
    model: StrokeClassifier,
    data: Drawings,
    indices: NDArray[np.int64],
    classes: Sequence[str],
    label_map: NDArray[np.int64],
    *,
    protocol: Protocol = "honest",
    batch_size: int = 256,
    precision: torch.dtype = torch.float32,
    on_batch: Callable[[int], None] = lambda n: None,
    group: Group = ALONE,
    there: OnDevice | None = None,
) -> Evaluation:
    """Scores a model on the drawings `indices` (N,), N at least 1; the model is as before afterwards.

    Args:
        label_map: the model's label, 0 or more, of each label of the data.
        batch_size: of the protocol `published`, whose result depends on it; the honest one's does not.
        precision: of the matrix products of a length-aware model on a CPU; with bfloat16 a drawing in some thousands
            may change sides.
        on_batch: called with the number of drawings after each batch.
        group: processes that share the batches; each has the whole result.
        there: the same data on a GPU that the model is on; by default they are brought there.
    """
    indices = indices[np.lexsort((indices, label_map[data.labels[indices]]))]
    labels = label_map[data.labels[indices]]
    device = next(model.parameters()).device
    there = on_device(data, device) if there is None else there
    results = [torch.zeros(len(indices), dtype=kind, device=device) for kind in (torch.int64, torch.int64)]
    results += [torch.zeros(len(indices), dtype=torch.float64, device=device) for _ in range(2)]
    everything = np.arange(len(indices))
    if protocol == "published":
        order: Sequence[NDArray[np.int64]] = batches.cut(everything, batch_size)
    else:
        size = _BATCH_SIZE if device.type == "cpu" else _BATCH_SIZE_ON_GPU
        order = batches.by_length(everything, data.n_points[indices], size)[
            ::-1
        ]  # long ones first: threads end together

    def score(rows: NDArray[np.int64]) -> int:
        logits = _logits(model, data, there, indices[rows])  # (B, K)
        own, place = put(labels[rows], device).unsqueeze(1), put(rows, device)  # (B, 1), (B,)
        best, total = logits.argmax(1, keepdim=True), logits.logsumexp(1, keepdim=True)  # (B, 1)
        scores = logits.gather(1, own)  # (B, 1)
        probability, losses = (logits.gather(1, best) - total).exp(), total - scores  # (B, 1)
        for result, values in zip(results, (best, _ranks(logits, scores, own), probability, losses), strict=True):
            result[place] = values.squeeze(1)
        return len(rows)

    with _mode(model, protocol, precision), threads_for(model), torch.inference_mode():
        shares = group.part(order)
        # By the other protocol batches move the running statistics: one after the other.
        for n in threads.each(score, shares, device) if protocol == "honest" else map(score, shares):
            on_batch(n)
        arrays = [result.cpu().numpy() for result in results]
    group.fill(*arrays)
    predicted, ranks, probability, losses = arrays
    return Evaluation(tuple(classes), indices, labels, predicted, probability, ranks, losses)


def _logits(
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
        "balanced_accuracy_of_points": {f"{fraction:g}": part.balanced() for fraction, part in partial.items()},
    }


def _class_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """What drawings count for, (N,), where every class counts 1."""
    return np.asarray(1.0 / np.bincount(labels)[labels])


def _calibration_error(
    probability: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """Expected calibration error of guesses (N,) with these probabilities, of which some are right."""
    bins = np.minimum((probability * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = np.bincount(bins, weights * (probability - right), minlength=N_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities that can be trusted, and how far rare classes are given what they lack.

    Attributes:
        temperature: the logits are divided by it (Guo et al., On Calibration of Modern Neural Networks, 2017).
        prior: strength of the logit adjustment: so many times the logarithm of how many drawings a class was trained on
            is taken away (Menon et al., Long-tail Learning via Logit Adjustment, 2021).
    """

    temperature: float
    prior: float

    def apply(self, model: StrokeClassifier, n_trained: NDArray[np.int64]) -> None:
        """Makes it part of the model's output layer; `n_trained` int64 (K,) as for `fit_calibration`."""
        model.adjust_logits(1 / self.temperature, torch.from_numpy(-self.prior * _log_counts(n_trained)))


def fit_calibration(
    model: StrokeClassifier,
    data: Drawings,
    indices: NDArray[np.int64],
    label_map: NDArray[np.int64],
    n_trained: NDArray[np.int64],
    criterion: Criterion = "balanced_loss",
) -> Calibration:
    """The calibration that `choose_calibration` finds for the drawings `indices` (N,).

    Args:
        n_trained: int64 (K,), drawings that each class was trained on.
        criterion: the metric that the model was selected by.
    """
    logits = torch.empty(len(indices), model.config.n_classes, dtype=torch.float64)
    with _mode(model, "honest"), threads_for(model), torch.inference_mode():
        for rows in batches.by_length(np.arange(len(indices)), data.n_points[indices], _BATCH_SIZE):
            logits[torch.from_numpy(rows)] = _logits(model, data, None, indices[rows]).cpu()
    labels = torch.from_numpy(label_map[data.labels[indices]])
    return choose_calibration(logits, labels, n_trained, criterion)


def choose_calibration(
    logits: Tensor, labels: Tensor, n_trained: NDArray[np.int64], criterion: Criterion = "balanced_loss"
) -> Calibration:
    """The calibration of logits that serves the metric a model was selected by.

    The strength of the logit adjustment is chosen by that metric, so it is never worse than without: the smallest that
    is as good as the best, as far as these drawings can tell (by the standard error of the difference). Then a
    temperature is fitted, which changes no guess. It is kept only where it lowers the calibration error. Loss and error
    are weighted as the metric is: every drawing counts alike for `top1`, every class for `balanced_loss`.

    Args:
        logits: float64 (N, K), of validation drawings.
        labels: int64 (N,), their classes.
        n_trained: int64 (K,), drawings that each class was trained on.
    """
    of_drawing = np.ones(len(labels)) if criterion == "top1" else _class_weights(labels.numpy())
    weights = torch.from_numpy(of_drawing / of_drawing.sum())
    log_counts = torch.from_numpy(_log_counts(n_trained))
    scale, _ = _least_loss(logits, labels, weights, log_counts, 0.0)
    strength = 0.0  # per unit of the logits as they are
    if criterion == "top1":
        # Up to 1, by which training's counts are forgotten altogether (Menon et al., 2021).
        strength = _strength_for_top1(logits, labels, log_counts, 1 / scale)
        scale, _ = _least_loss(logits - strength * log_counts, labels, weights, log_counts, 0.0)
    elif bool((log_counts != 0).any()):
        scale, prior = _least_balanced_loss(logits, labels, weights, log_counts)
        strength = prior / scale
    adjusted = logits - strength * log_counts  # (N, K)
    right = (adjusted.argmax(1) == labels).numpy()  # (N,)

    def error(scale: float) -> float:
        return _calibration_error((scale * adjusted).softmax(1).amax(1).numpy(), right, of_drawing)

    fitted, scale = (_not_too_sure(each, adjusted, weights) for each in (scale, 1.0))
    if error(fitted) <= error(scale):
        scale = fitted
    elif criterion == "balanced_loss":
        # Without the temperature so much of an adjustment may cost more than it gives.
        cost = weights @ (_losses(scale * adjusted, labels) - _losses(scale * logits, labels))
        strength = 0.0 if cost > 0 else strength
    return Calibration(1 / scale, strength * scale)


def _strength_for_top1(logits: Tensor, labels: Tensor, log_counts: Tensor, highest: float) -> float:
    """The least strength, from 0 to `highest`, whose top-1 is not measurably below the best, nor below that of 0."""
    strengths = np.linspace(0.0, highest, _N_STRENGTHS)
    right = np.array([((logits - s * log_counts).argmax(1) == labels).numpy() for s in strengths.tolist()], np.int8)
    n_right = right.sum(1, dtype=np.int64)  # (S,)
    lost = right[n_right.argmax()] - right  # (S, N)
    is_good = (lost.mean(1) <= lost.std(1) / np.sqrt(len(labels))) & (n_right >= n_right[0])
    return float(strengths[is_good.argmax()])


def _least_balanced_loss(logits: Tensor, labels: Tensor, weights: Tensor, log_counts: Tensor) -> tuple[float, float]:
    """The scale, and the least prior whose loss is not measurably above the best: a prior moves many guesses, and few
    drawings of rare classes say how far."""
    scale, highest = _least_loss(logits, labels, weights, log_counts)
    best = _losses(scale * logits - highest * log_counts, labels)
    for prior in np.linspace(0.0, max(highest, 0.0), _N_STRENGTHS - 1, endpoint=False).tolist():
        its_scale, _ = _least_loss(logits, labels, weights, log_counts, prior)
        difference = _losses(its_scale * logits - prior * log_counts, labels) - best
        mean = (weights * difference).sum()
        if mean <= (weights * (difference - mean)).norm():
            return its_scale, prior
    return scale, highest


def _not_too_sure(scale: float, logits: Tensor, weights: Tensor) -> float:
    """A scale of logits (N, K), this one or a smaller one, by which one guess in N + 2 is wrong: Laplace's rule, where
    all N are right. Their loss alone would have the logits as large as can be."""

    def doubt(scale: float) -> float:
        return 1 - float(weights @ (scale * logits).softmax(1).amax(1))

    low, high, least = 0.0, scale, 1 / (len(logits) + 2)
    if doubt(scale) >= least:
        return scale
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if doubt(middle) > least else (low, middle)
    return high


def _log_counts(n_trained: NDArray[np.int64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.log(np.maximum(n_trained, 1) / n_trained.mean())
    return values


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")  # (N,)


def _least_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, log_counts: Tensor, prior: float | None = None
) -> tuple[float, float]:
    """The scale of logits float64 (N, K), and the prior, with the least loss, by Newton's method; a prior may be given.

    Adjusted logits are linear in both, scale * logits - prior * log_counts, so the loss is convex in them.
    """
    known = -(prior or 0.0) * log_counts  # (K,)
    columns = [logits] if prior is not None else [logits, -log_counts.expand_as(logits)]
    features = torch.stack(columns, dim=2)  # (N, K, 1 or 2)
    of_truth = features[torch.arange(len(labels)), labels]  # (N, 1 or 2)
    fitted = torch.tensor([1.0, 0.0], dtype=torch.float64)[: len(columns)]

    def loss(values: Tensor) -> Tensor:
        return (weights * _losses(features @ values + known, labels)).sum()

    for _ in range(100):
        p = (features @ fitted + known).softmax(1)  # (N, K)
        mean = torch.einsum("nk,nkf->nf", p, features)
        gradient = weights @ (mean - of_truth)
        centred = features - mean.unsqueeze(1)
        curvature = torch.einsum("n,nk,nkf,nkg->fg", weights, p, centred, centred)
        step = torch.linalg.lstsq(curvature, gradient).solution
        while loss(fitted - step) > loss(fitted) and step.abs().max() > 1e-9:
            step = step / 2
        fitted = fitted - step
        fitted[0] = fitted[0].clamp(min=1 / HIGHEST_TEMPERATURE)
        if step.abs().max() < 1e-6:
            break
    return float(fitted[0]), prior if prior is not None else float(fitted[1])


class _mode:
    """Puts a model into the mode that a protocol evaluates in, and back, statistics included."""

    def __init__(self, model: StrokeClassifier, protocol: Protocol, precision: torch.dtype = torch.float32) -> None:
        self._model, self._protocol, self._precision = model, protocol, precision

    def __enter__(self) -> None:
        self._was_training = self._model.training
        self._statistics = [buffer.clone() for buffer in self._model.bn.buffers()]
        self._group, self._model.bn.group = self._model.bn.group, ALONE
        self._before, self._model.precision_without_gradient = self._model.precision_without_gradient, self._precision
        self._model.eval()
        self._model.bn.train(self._protocol == "published")

    def __exit__(self, *_: object) -> None:
        for buffer, saved in zip(self._model.bn.buffers(), self._statistics, strict=True):
            buffer.copy_(saved)
        self._model.bn.group = self._group
        self._model.precision_without_gradient = self._before
        self._model.train(self._was_training)


def reestimate_batchnorm(model: StrokeClassifier, data: Drawings, indices: NDArray[np.int64]) -> None:
    """Sets batch norm's running mean and unbiased variance to those over all rows of the drawings `indices` (N,).

    The rows are those that the model's reading counts: all `max_padding` of each drawing when it is padded, else the
    true ones. No label is used.
    """
    n_channels = model.bn.num_features
    total, squares, n = np.zeros(n_channels), np.zeros(n_channels), 0
    for rows in _chunks(data, indices, model):
        total += rows.sum(axis=0)
        squares += (rows * rows).sum(axis=0)
        n += len(rows)
    if model.config.reading == "padded":
        n = len(indices) * model.config.max_padding
    if n == 0:
        return
    mean = total / n
    var = (squares - n * mean * mean) / max(n - 1, 1)
    cast(Tensor, model.bn.running_mean).copy_(torch.from_numpy(mean))
    cast(Tensor, model.bn.running_var).copy_(torch.from_numpy(var))


def _chunks(data: Drawings, indices: NDArray[np.int64], model: StrokeClassifier) -> Iterator[NDArray[np.float64]]:
    """The true rows (R, C) of some drawings at a time; padded rows are zeros and add nothing to a sum."""
    for part in batches.by_length(indices, data.n_points, 4 * _BATCH_SIZE):
        points, lengths = batches.points_of(data, part, model.config.max_padding, model.config.preprocessing)
        yield points[np.arange(points.shape[1]) < lengths[:, None]].astype(np.float64)
