"""Fitting the probability that a drawing shows none of the words, without drawings of other words.

Each validation drawing counts twice: as it is, for a known word, and as if its own word were not among the model's,
for an unknown one. For the latter its word's logit is left out: what remains is what the other words make of a drawing
that is none of them. Weights fitted so are close to those fitted to drawings of words that a model never saw
(`benchmarks/unknown.py` has the figures).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.evaluation.metrics import class_weights

UNKNOWN_SHARE = 1 / 3  # of all drawings, those that show none of the words

_ACCEPTED = 0.95  # of the known drawings, where refusals of others are counted


def evidence(logits: Tensor, labels: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `UnknownScore` reads of each drawing's logits, and of those without its own word's: float64 (N, 2) each.

    Args:
        logits: float64 (N, K), K at least 2.
        labels: int64 (N,), their classes.
    """
    is_other = torch.ones_like(logits, dtype=torch.bool).scatter(1, labels.unsqueeze(1), False)  # (N, K)
    known, unknown = map(_evidence, (logits, logits[is_other].view(len(logits), -1)))
    return known, unknown


def _evidence(logits: Tensor) -> NDArray[np.float64]:
    log_sum_exp = logits.logsumexp(1)  # (N,)
    entropy = log_sum_exp - (logits.softmax(1) * logits).sum(1)  # (N,)
    result: NDArray[np.float64] = torch.stack([log_sum_exp, entropy], 1).numpy()
    return result


def fit_unknown(logits: Tensor, labels: Tensor) -> UnknownScore | None:
    """The score where one drawing in three shows none of the words, macro-averaged over classes.

    Were it one in two, a model of 345 words would doubt a third of the drawings of its words.

    Args:
        logits: float64 (N, K), calibrated, of validation drawings.
        labels: int64 (N,), their classes.

    Returns:
        None for a model of one class, or one whose known drawings do not have the higher log-sum-exp.
    """
    if logits.shape[1] < 2:
        return None
    known, unknown = evidence(logits, labels)
    of_known = class_weights(labels.numpy())
    weights = torch.from_numpy(np.concatenate([(1 - UNKNOWN_SHARE) * of_known, UNKNOWN_SHARE * of_known]))
    is_unknown = torch.cat([torch.zeros(len(known)), torch.ones(len(unknown))]).double()
    x = torch.from_numpy(np.concatenate([known, unknown]) * [-1, 1])  # (2N, 2)
    for n_features in (2, 1):  # a weight of the wrong sign would be trusted where nothing like it was seen
        intercept, *slopes = _logistic_regression(x[:, :n_features], is_unknown, weights)
        if min(slopes) > 0:
            return UnknownScore(intercept, *slopes)
    return None


def _logistic_regression(x: Tensor, labels: Tensor, weights: Tensor) -> list[float]:
    """Intercept and slopes for x (N, F), labels 0 or 1 (N,) and weights (N,), by Newton's method.

    A little ridge on standardised values keeps the slopes of separable ones finite.
    """
    mean, scale = x.mean(0), x.std(0) + 1e-12
    features = torch.cat([torch.ones_like(x[:, :1]), (x - mean) / scale], 1)  # (N, 1 + F)
    fitted = torch.zeros(features.shape[1], dtype=torch.float64)
    ridge = 1e-3 * torch.eye(len(fitted), dtype=torch.float64)
    for _ in range(50):
        p = torch.sigmoid(features @ fitted)  # (N,)
        gradient = features.T @ (weights * (p - labels)) / weights.sum() + ridge @ fitted
        curvature = features.T @ ((weights * p * (1 - p)).unsqueeze(1) * features) / weights.sum() + ridge
        step = torch.linalg.solve(curvature, gradient)
        fitted = fitted - step.clamp(-2, 2)
        if step.abs().max() < 1e-9:
            break
    slopes = fitted[1:] / scale
    return [float(fitted[0] - slopes @ mean), *slopes.tolist()]


@dataclass(frozen=True, slots=True)
class Refusals:
    """How well scores tell unknown drawings from known ones.

    Attributes:
        auroc: area under the ROC curve: the probability that an unknown drawing has the higher score than a known one.
        refused: fraction of the unknown drawings above the score that 95% of the known ones do not pass.
        n_known, n_unknown: drawings.
    """

    auroc: float
    refused: float
    n_known: int
    n_unknown: int


def refusals(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> Refusals:
    """The figures of scores, higher for unknown drawings: those of known drawings (N,) and of unknown ones (M,)."""
    ordered = np.sort(known)
    below = np.searchsorted(ordered, unknown, side="left") + np.searchsorted(ordered, unknown, side="right")
    threshold = ordered[int(np.ceil(_ACCEPTED * len(ordered))) - 1]
    return Refusals(
        float(below.mean() / (2 * len(known))), float((unknown > threshold).mean()), len(known), len(unknown)
    )
