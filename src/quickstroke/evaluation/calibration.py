"""Temperature scaling and logit adjustment, fitted to validation drawings."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.config.training import SelectBy
from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation.evaluate import compile_scoring, in_batches, logits_of
from quickstroke.evaluation.metrics import calibration_error, class_weights
from quickstroke.models.classifier import StrokeClassifier, threads_for

# Highest temperature that a calibration finds: with it all classes are nearly equally probable.
HIGHEST_TEMPERATURE = 1000.0

_N_STRENGTHS = 21  # strengths of the logit adjustment that are tried, 0 among them


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature scaling and logit adjustment of an output layer.

    Attributes:
        temperature: the logits are divided by it (Guo et al., On Calibration of Modern Neural Networks, 2017).
        tau: strength of the logit adjustment: after that, tau times the logarithm of each class's relative number of
            training drawings is subtracted (Menon et al., Long-tail Learning via Logit Adjustment, 2021).
    """

    temperature: float
    tau: float

    def apply(self, model: StrokeClassifier, n_trained: NDArray[np.int64]) -> None:
        """Changes the weights of the model's output layer so; `n_trained` int64 (K,) as for `fit_calibration`."""
        model.adjust_logits(1 / self.temperature, torch.from_numpy(-self.tau * _log_counts(n_trained)))


def fit_calibration(
    model: StrokeClassifier,
    drawings: LabelledDrawings,
    n_trained: NDArray[np.int64],
    select_by: SelectBy = "balanced_loss",
) -> Calibration:
    """The calibration that `choose_calibration` finds for the model's logits of these drawings.

    Args:
        n_trained: int64 (K,), drawings that each class was trained on.
        select_by: the metric by which the training selected its epoch.
    """
    return choose_calibration(logits_on(model, drawings), torch.from_numpy(drawings.labels), n_trained, select_by)


def logits_on(model: StrokeClassifier, drawings: LabelledDrawings) -> Tensor:
    """A model's logits of N drawings, float64 (N, K) on the CPU."""
    data, indices = drawings.data, drawings.indices
    logits = torch.empty(len(indices), model.config.n_classes, dtype=torch.float64)
    with model.evaluating(), threads_for(model), torch.inference_mode():
        compile_scoring(model, data, indices)
        for rows in in_batches(model, data, indices):
            logits[torch.from_numpy(rows)] = logits_of(model, data, None, indices[rows]).cpu()
    return logits


def choose_calibration(
    logits: Tensor, labels: Tensor, n_trained: NDArray[np.int64], select_by: SelectBy
) -> Calibration:
    """The calibration of logits for the metric by which a model was selected.

    The strength of the logit adjustment is chosen by that metric, so the metric is never worse than without. It is the
    smallest strength that is not measurably worse than the best one, by the standard error of the difference. Then a
    temperature is fitted, which changes no guess; it is kept only if it lowers the calibration error. Loss and error
    are averaged as the metric is: over drawings for `top1`, over classes (macro-averaged) for `balanced_loss`.

    Args:
        logits: float64 (N, K), of validation drawings.
        labels: int64 (N,), their classes.
        n_trained: int64 (K,), drawings that each class was trained on.
    """
    of_drawing = np.ones(len(labels)) if select_by == "top1" else class_weights(labels.numpy())
    weights = torch.from_numpy(of_drawing / of_drawing.sum())
    log_counts = torch.from_numpy(_log_counts(n_trained))
    # The strength is per unit of the logits as they are.
    if select_by == "top1":
        # Up to 1 by the scale of now, which removes the class frequencies of the training entirely (Menon et al.,
        # 2021); the adjusted logits get a scale of their own, and with it another tau.
        scale, _ = _least_loss(logits, labels, weights, log_counts, 0.0)
        strength = _strength_for_top1(logits, labels, log_counts, 1 / scale)
        scale, _ = _least_loss(logits - strength * log_counts, labels, weights, log_counts, 0.0)
    else:
        scale, tau = _least_balanced_loss(logits, labels, weights, log_counts)
        strength = tau / scale
    adjusted = logits - strength * log_counts  # (N, K)
    right = (adjusted.argmax(1) == labels).numpy()  # (N,)

    def error(scale: float) -> float:
        return calibration_error((scale * adjusted).softmax(1).amax(1).numpy(), right, of_drawing)

    fitted, scale = (_limit_confidence(each, adjusted, weights) for each in (scale, 1.0))
    if error(fitted) <= error(scale):
        scale = fitted
    elif select_by == "balanced_loss":
        # Without the temperature an adjustment of this strength may raise the loss.
        cost = weights @ (_losses(scale * adjusted, labels) - _losses(scale * logits, labels))
        strength = 0.0 if cost > 0 else strength
    return Calibration(1 / scale, strength * scale)


def _strength_for_top1(logits: Tensor, labels: Tensor, log_counts: Tensor, highest: float) -> float:
    """The smallest strength in 0..`highest` whose top-1 is not measurably below the best, nor below that of 0."""
    strengths = np.linspace(0.0, highest, _N_STRENGTHS)
    right = np.array([((logits - s * log_counts).argmax(1) == labels).numpy() for s in strengths.tolist()], np.int8)
    n_right = right.sum(1, dtype=np.int64)  # (S,)
    lost = right[n_right.argmax()] - right  # (S, N)
    is_good = (lost.mean(1) <= lost.std(1) / np.sqrt(len(labels))) & (n_right >= n_right[0])
    return float(strengths[is_good.argmax()])


def _least_balanced_loss(logits: Tensor, labels: Tensor, weights: Tensor, log_counts: Tensor) -> tuple[float, float]:
    """The scale, and the smallest tau whose loss is not measurably above the lowest: tau changes many guesses, and it
    is estimated from few drawings of rare classes."""
    scale, highest = _least_loss(logits, labels, weights, log_counts)
    best = _losses(scale * logits - highest * log_counts, labels)
    for tau in np.linspace(0.0, max(highest, 0.0), _N_STRENGTHS - 1, endpoint=False).tolist():
        its_scale, _ = _least_loss(logits, labels, weights, log_counts, tau)
        difference = _losses(its_scale * logits - tau * log_counts, labels) - best
        mean = (weights * difference).sum()
        if mean <= (weights * (difference - mean)).norm():
            return its_scale, tau
    return scale, highest


def _limit_confidence(scale: float, logits: Tensor, weights: Tensor) -> float:
    """This scale of logits (N, K), or a smaller one, by which a guess is wrong with a probability of 1 / (N + 2).

    That is Laplace's rule of succession. If all N guesses are right, the loss alone would make the scale infinite.
    """

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
    return np.asarray(np.log(np.maximum(n_trained, 1) / n_trained.mean()))


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")  # (N,)


def _least_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, log_counts: Tensor, tau: float | None = None
) -> tuple[float, float]:
    """The scale of logits float64 (N, K) and the tau with the lowest loss, by Newton's method; tau may be given.

    Adjusted logits, scale * logits - tau * log_counts, are linear in both, so the loss is convex in them.
    """
    known = -(tau or 0.0) * log_counts  # (K,)
    columns = [logits] if tau is not None else [logits, -log_counts.expand_as(logits)]
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
    return float(fitted[0]), tau if tau is not None else float(fitted[1])
