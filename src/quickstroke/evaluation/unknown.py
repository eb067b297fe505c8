"""Fitting the probability that a drawing shows none of the words, without drawings of other words.

Each validation drawing counts twice: as it is, for a known word, and as if its own word were not among the model's,
for an unknown one. For the latter its word's logit is left out: what remains is what the other words make of a drawing
that is none of them. Strokes of several drawings put together are unknown, too. Weights fitted so are close to those
fitted to drawings of words that a model never saw (`benchmarks/unknown.py` has the figures).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.artifacts.unknown import UnknownScore
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.drawings.drawing import Drawing
from quickstroke.drawings.simplification import simplify
from quickstroke.evaluation.metrics import class_weights

UNKNOWN_SHARE = 1 / 3  # of all drawings, those that show none of the words

_ACCEPTED = 0.95  # of the known drawings, where refusals of others are counted
# Of the unknown drawings, those that are put together of several. More of them tell scribbles better, and other words
# worse.
_JUMBLED_SHARE = 0.2
_N_JUMBLED = 4000
_MOST_STROKES = 5  # of several drawings, put together
_N_FITTED = 20_000  # drawings: so many tell each word's weight, and their numbers fit into memory
# Logits below this quantile say no more than that it is another word.
_FLOOR = 0.25
# In the mean log loss, for standardised values: of a word's weight, which few drawings tell, and of the others'.
_RIDGE_OF_WORDS, _RIDGE = 0.03, 1e-3


def jumbled(data: PreparedDataset, part: LabelledDrawings, n: int = _N_JUMBLED) -> LabelledDrawings | None:
    """`n` drawings of none of the words, put together of drawings of the dataset.

    A third each are two drawings of different words in one place, half of the strokes of each of two, and single
    strokes of several drawings, turned, scaled and moved at random. Their labels say nothing.

    Returns:
        None where all drawings show one word.
    """
    rng, labels, indices = np.random.default_rng(0), part.labels, part.indices
    if (labels == labels[0]).all():
        return None

    def place(stroke: NDArray[np.uint8]) -> NDArray[np.float64]:
        turn, scale, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5), rng.uniform(-80, 80, 2)
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return np.asarray(scale * (stroke - stroke.mean(0)) @ turned + shift)

    drawings = []
    for k in range(n):
        first, *others = rng.choice(len(indices), _MOST_STROKES).tolist()
        if k % 3:
            second = rng.choice(np.flatnonzero(labels != labels[first]))
            one, other = (data.strokes(int(indices[i])) for i in (first, second))
            if k % 3 == 1:
                one, other = ([own[i] for i in rng.permutation(len(own))[: -(-len(own) // 2)]] for own in (one, other))
            scale, shift = rng.uniform(0.6, 1.2), rng.uniform(-60, 60, 2)
            strokes = [*(stroke.astype(np.float64) for stroke in one), *(scale * stroke + shift for stroke in other)]
        else:
            of_each = [data.strokes(int(indices[i])) for i in (first, *others[: rng.integers(1, _MOST_STROKES)])]
            strokes = [place(of_one[rng.integers(len(of_one))]) for of_one in of_each]
        drawings.append(Drawing(part.classes[0], simplify(strokes)))
    return LabelledDrawings.of_drawings(drawings, part.classes)[0]


def evidence(logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """What `UnknownScore` reads of each drawing: log-sum-exp and entropy (N,), logits (N, K).

    Args:
        logits: float64 (N, K), K at least 2.
        labels: int64 (N,), the classes that are left out of each, as if the model did not know them: their logits are
            -inf.
    """
    if labels is not None:
        logits = logits.scatter(1, labels.unsqueeze(1), -torch.inf)
    log_sum_exp, p = logits.logsumexp(1), logits.softmax(1)  # (N,), (N, K)
    entropy = log_sum_exp - torch.where(p > 0, p * logits, 0).sum(1)  # (N,)
    return log_sum_exp, entropy, logits


def fit_unknown(logits: Tensor, labels: Tensor, of_jumbled: Tensor | None = None) -> UnknownScore | None:
    """The score where one drawing in three shows none of the words, macro-averaged over classes.

    Were it one in two, a model of 345 words would doubt a third of the drawings of its words.

    Args:
        logits: float64 (N, K), calibrated, of validation drawings.
        labels: int64 (N,), their classes.
        of_jumbled: float64 (M, K), logits of drawings that are put together of several.

    Returns:
        None for a model of one class, or one whose known drawings do not have the higher log-sum-exp.
    """
    if logits.shape[1] < 2:
        return None
    if len(logits) > _N_FITTED:
        some = torch.from_numpy(np.random.default_rng(0).permutation(len(logits))[:_N_FITTED])
        logits, labels = logits[some], labels[some]
    of_jumbled = logits[:0] if of_jumbled is None else of_jumbled
    floor = float(np.quantile(logits.numpy(), _FLOOR))
    parts = [evidence(logits), evidence(logits, labels), evidence(of_jumbled)]
    both, raised = (
        torch.cat(each)
        for each in zip(*((torch.stack([-e, h], 1), own.clamp(min=floor)) for e, h, own in parts), strict=True)
    )  # (N + N + M, 2), (N + N + M, K)
    is_unknown = (torch.arange(len(both)) >= len(logits)).double()
    each_alike = np.ones(len(logits))

    def fitted(x: Tensor, of_known: NDArray[np.float64], n_words: int = 0) -> list[float]:
        n, share = len(of_jumbled), _JUMBLED_SHARE * (len(of_jumbled) > 0)
        of_unknown = np.concatenate([(1 - share) * of_known, np.full(n, share * of_known.sum() / max(n, 1))])
        weights = np.concatenate([(1 - UNKNOWN_SHARE) * of_known, UNKNOWN_SHARE * of_unknown])
        return _logistic_regression(x, is_unknown, torch.from_numpy(weights), n_words)

    # Few drawings tell the weight of a rare word, so that each drawing counts alike there.
    words = fitted(torch.cat([both, raised], 1), each_alike, raised.shape[1])[3:]
    of_words = (raised @ torch.tensor(words, dtype=torch.float64)).unsqueeze(1)  # (N + N + M, 1)
    for x in (torch.cat([both, of_words], 1), both, both[:, :1]):
        intercept, *slopes = fitted(x, class_weights(labels.numpy()))
        if min(slopes) > 0:  # a weight of the wrong sign would be trusted where nothing like it was seen
            slope, entropy, factor = (*slopes, 0.0, 0.0)[:3]
            rounded = tuple(float(f"{factor * word:.4g}") for word in words) if factor else ()
            return UnknownScore(intercept, slope, entropy, floor, rounded)
    return None


def _logistic_regression(x: Tensor, labels: Tensor, weights: Tensor, n_words: int) -> list[float]:
    """Intercept and slopes for x (N, F), labels 0 or 1 (N,) and weights (N,), by Newton's method.

    Ridge on standardised values keeps the slopes of separable ones finite. The last `n_words` are measured by one
    standard deviation.
    """
    mean, scale = x.mean(0), x.std(0) + 1e-12
    n_others = x.shape[1] - n_words
    if n_words:
        scale[n_others:] = scale[n_others:].mean()
    features = torch.cat([torch.ones_like(x[:, :1]), (x - mean) / scale], 1)  # (N, 1 + F)
    fitted = torch.zeros(features.shape[1], dtype=torch.float64)
    ridge = torch.full_like(fitted, _RIDGE)
    ridge[1 + n_others :] = _RIDGE_OF_WORDS
    for _ in range(50):
        p = torch.sigmoid(features @ fitted)  # (N,)
        gradient = features.T @ (weights * (p - labels)) / weights.sum() + ridge * fitted
        curvature = features.T @ ((weights * p * (1 - p)).unsqueeze(1) * features) / weights.sum() + ridge.diag()
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
