"""Two models on the same drawings: how sure a difference is."""

import math
import statistics
from dataclasses import dataclass

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


def compared(first: NDArray[np.bool_], second: NDArray[np.bool_], labels: NDArray[np.int64]) -> Comparison:
    """The comparison by what each of two models recognised of the same drawings (N,), whose classes are `labels` (N,).

    The intervals are normal approximations by the differences of single drawings, within each class for balanced
    accuracy. That of top-1 counts half a drawing more in each cell (Agresti and Min, Statistics in Medicine 24, 2005).
    """
    n, better, worse = len(labels), int((first & ~second).sum()), int((second & ~first).sum())
    z = statistics.NormalDist().inv_cdf(0.975)
    middle = (better - worse) / (n + 2)
    half = z * math.sqrt(max(better + worse + 1 - (better - worse) ** 2 / (n + 2), 0)) / (n + 2)
    difference = first.astype(np.float64) - second  # (N,)
    counts = np.bincount(labels)
    taken = counts > 0
    n_of = counts[taken]  # (K,)
    means = np.bincount(labels, difference)[taken] / n_of  # (K,)
    squares = np.bincount(labels, difference**2)[taken] / n_of - means**2  # (K,)
    # Of a class with one drawing nothing is known but what all drawings tell.
    variances = np.where(n_of > 1, squares * n_of / np.maximum(n_of - 1, 1), difference.var())
    balanced = float(means.mean())
    balanced_half = z * math.sqrt(float((variances / n_of).sum())) / len(n_of)
    return Comparison(
        n=n,
        first_only=better,
        second_only=worse,
        top1=(better - worse) / n,
        top1_low=max(middle - half, -1.0),
        top1_high=min(middle + half, 1.0),
        balanced_accuracy=balanced,
        balanced_accuracy_low=max(balanced - balanced_half, -1.0),
        balanced_accuracy_high=min(balanced + balanced_half, 1.0),
        p=mcnemar(better, worse),
    )


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of so many drawings that one alone of two models recognised (McNemar, 1947)."""
    n, ways, total = better + worse, 1, 0
    for k in range(min(better, worse) + 1):
        total += ways
        ways = ways * (n - k) // (k + 1)
    return min(float(2 * total / 2**n), 1.0)
