"""Exact metrics: counts over every drawing, and their intervals."""

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def wilson_interval(right: float, n: float) -> tuple[float, float]:
    """Bounds, at 95%, of the true fraction when `right` of `n` were right (E. B. Wilson, JASA 22, 1927).

    Of a weighted mean, `n` is the number of equally weighted ones that are as good as these.
    """
    z = statistics.NormalDist().inv_cdf(0.975)
    middle = (right + z * z / 2) / (n + z * z)
    margin = z * math.sqrt(right * (n - right) / n + z * z / 4) / (n + z * z)
    return max(0.0, middle - margin), min(1.0, middle + margin)


# Of the calibration error.
N_BINS = 15


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
        """The macro-averaged loss: the mean over the classes with drawings of each class's mean loss."""
        return self._class_mean(self.losses)

    def top(self, k: int) -> float:
        """Fraction of drawings whose class is among the model's first k."""
        return int((self.ranks < k).sum()) / self.n

    def map3(self) -> float:
        """Mean average precision of the first three guesses, by which Kaggle's contest of 2018 counted: a drawing has
        1, 1/2 or 1/3 where its class is the first, second or third of them."""
        return float(np.where(self.ranks < 3, 1 / (self.ranks + 1), 0.0).mean())

    def balanced_accuracy(self) -> float:
        """Macro-averaged top-1: the mean over the classes with drawings of each class's top-1."""
        return self._class_mean(self.ranks == 0)

    def interval(self, k: int = 1) -> tuple[float, float]:
        """The 95% interval of top-k."""
        return wilson_interval(int((self.ranks < k).sum()), self.n)

    def balanced_accuracy_interval(self) -> tuple[float, float]:
        """The 95% interval of balanced accuracy: Wilson's for Kish's effective number of drawings, which is small where
        many classes have few drawings."""
        n = np.bincount(self.labels)
        n_effective = float((n > 0).sum() ** 2 / (1 / n[n > 0]).sum())
        return wilson_interval(self.balanced_accuracy() * n_effective, n_effective)

    def _class_mean(self, values: NDArray[Any]) -> float:
        n = np.bincount(self.labels)
        return float((np.bincount(self.labels, values)[n > 0] / n[n > 0]).mean())

    def calibration_error(self, *, balanced: bool = False) -> float:
        """Expected calibration error of the top guess: 15 bins of equal width (Guo et al., 2017, section 2).

        Args:
            balanced: macro-average: all classes have the same total weight; by default all drawings have the same.
        """
        weights = class_weights(self.labels) if balanced else np.ones(self.n)
        return calibration_error(self.probability, self.ranks == 0, weights)

    def figures(self) -> dict[str, float | int]:
        """The metrics as they stand in JSON: fractions, with 95% intervals, loss, and n drawings."""
        low, high = self.interval()
        top3_low, top3_high = self.interval(3)
        balanced_low, balanced_high = self.balanced_accuracy_interval()
        return {
            "top1": self.top(1),
            "top3": self.top(3),
            "top5": self.top(5),
            "top1_low": low,
            "top1_high": high,
            "top3_low": top3_low,
            "top3_high": top3_high,
            "balanced_accuracy": self.balanced_accuracy(),
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
        pairs = zip(self.n_right_by_class().tolist(), self.n_by_class().tolist(), strict=True)
        return dict(zip(self.classes, pairs, strict=True))


def class_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights (N,) of drawings for macro-averaging: those of each class sum to 1."""
    return np.asarray(1.0 / np.bincount(labels)[labels])


def calibration_error(
    probability: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> float:
    """Expected calibration error of guesses (N,) with these probabilities, of which some are right."""
    bins = np.minimum((probability * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = np.bincount(bins, weights * (probability - right), minlength=N_BINS)
    return float(np.abs(gaps).sum() / weights.sum())
