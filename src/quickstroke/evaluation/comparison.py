"""Two models on the same drawings: how sure a difference is."""

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """A first and a second model on the same N drawings. Differences are the first minus the second, intervals 95%.

    Attributes:
        n: drawings.
        first_only: drawings that the first alone recognised.
        second_only: drawings that the second alone recognised.
        top1, top1_low, top1_high: the difference of top-1.
        balanced_accuracy, balanced_accuracy_low, balanced_accuracy_high: the difference of balanced accuracy.
        p: McNemar's exact p-value: how often drawings that one alone recognised would be shared out at least so
            unevenly if both models were equally good.
    """

    n: int
    first_only: int
    second_only: int
    top1: float
    top1_low: float
    top1_high: float
    balanced_accuracy: float
    balanced_accuracy_low: float
    balanced_accuracy_high: float
    p: float


def class_mean(values: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The macro-average of values (N,): the mean over the classes with drawings of each class's mean."""
    n = np.bincount(labels)
    return float((np.bincount(labels, values)[n > 0] / n[n > 0]).mean())


def effective_n(labels: NDArray[np.int64]) -> float:
    """Kish's effective number of drawings for a macro-average, small where many classes have few drawings."""
    n = np.bincount(labels)
    return float((n > 0).sum() ** 2 / (1 / n[n > 0]).sum())


def compared(first: NDArray[np.bool_], second: NDArray[np.bool_], labels: NDArray[np.int64]) -> Comparison:
    """The comparison by what each of two models recognised of the same drawings (N,), whose classes are `labels` (N,).

    For balanced accuracy the interval is that of the effective number of drawings, as `Evaluation` has it.
    """
    only = first & ~second, second & ~first  # (N,) each
    better, worse = (int(each.sum()) for each in only)
    shares = [class_mean(each, labels) for each in only]
    n, n_effective = len(labels), effective_n(labels)
    top1_low, top1_high = _interval(better, worse, n)
    balanced_low, balanced_high = _interval(shares[0] * n_effective, shares[1] * n_effective, n_effective)
    return Comparison(
        n=n,
        first_only=better,
        second_only=worse,
        top1=(better - worse) / n,
        top1_low=top1_low,
        top1_high=top1_high,
        balanced_accuracy=shares[0] - shares[1],
        balanced_accuracy_low=balanced_low,
        balanced_accuracy_high=balanced_high,
        p=mcnemar(better, worse),
    )


def _interval(better: float, worse: float, n: float) -> tuple[float, float]:
    """The 95% interval of (better - worse) / n, with half a drawing more in each cell (Agresti and Min, Statistics in
    Medicine 24, 2005)."""
    z, n = statistics.NormalDist().inv_cdf(0.975), n + 2
    middle = (better - worse) / n
    half = z * math.sqrt(max(better + worse + 1 - (better - worse) ** 2 / n, 0)) / n
    return max(middle - half, -1.0), min(middle + half, 1.0)


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of so many drawings that one alone of two models recognised (McNemar, 1947)."""
    n, least = better + worse, min(better, worse)
    places = np.arange(1, least + 1)
    # Logarithms of the binomial coefficients (n, 0) to (n, least), whose sum is of 2 to the power n.
    ways = np.concatenate([[0.0], np.cumsum(np.log((n + 1 - places) / places))])
    return min(2 * float(np.exp(np.logaddexp.reduce(ways) - n * math.log(2))), 1.0)
