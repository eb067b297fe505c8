"""Exact metrics: counts over every drawing, and their intervals."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quickstroke.drawings.categories import check_classes
from quickstroke.errors import ArgumentTypeError, CategoryError, ConfigError, expect, expect_items, shown
from quickstroke.evaluation.comparison import Comparison, class_mean, compared, effective_n


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
# By how much the probabilities of a drawing may miss a sum of 1, as those of float16 do.
_SUM_OFF = 0.01


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation:
    """Metrics of one model over N drawings of K classes; sums over every drawing, divided once.

    Attributes:
        classes: the K words.
        indices: int64 (N,), which drawings of the data: of a dataset, or of the drawings as they were given, from 0.
        labels: int64 (N,), the true class of each.
        predicted: int64 (N,), the class with the highest logit.
        probability: float64 (N,), the softmax probability of `predicted`.
        ranks: int64 (N,), how many classes the model prefers to the true one.
        losses: float64 (N,), the cross entropy of each in nats.
        source: a hash of the dataset, or of the drawings, that `indices` are of; empty where it is not known.
    """

    classes: tuple[str, ...]
    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    ranks: NDArray[np.int64]
    losses: NDArray[np.float64]
    source: str = ""

    @classmethod
    def of(
        cls,
        probabilities: ArrayLike,
        labels: Sequence[str] | ArrayLike,
        classes: Sequence[str],
        *,
        indices: ArrayLike | None = None,
    ) -> Self:
        """The metrics of any model: of a network of your own, or of the mean of several.

        Args:
            probabilities: (N, K), each drawing's probabilities of all classes, as a softmax gives them.
            labels: the true word of each drawing, or its index in `classes`, integers (N,).
            classes: the K words.
            indices: integers (N,), which drawings these are, for `compare`, such as `data.indices("val")`; by default
                the first N, from 0.

        Raises:
            ConfigError: other shapes, a label from outside, an index twice, or probabilities below 0, not finite, or of
                another sum.
            CategoryError: a word that is not among the classes, or classes that cannot be used.
            ArgumentTypeError: what is no array of numbers, or no list.
        """
        words = check_classes(expect_items(classes, "classes", "words"), "classes")
        given, own = _numbers(probabilities, "probabilities"), _labels(labels, words)
        if given.shape != (len(own), len(words)) or not len(own):
            expected = f"({len(own)}, {len(words)}), a row for each label" if len(own) else "of one drawing or more"
            raise ConfigError(f"probabilities should be {expected}, got {given.shape}")
        wrong = ~(np.isfinite(given).all(1) & (given >= 0).all(1) & (abs(given.sum(1) - 1) <= _SUM_OFF))
        if wrong.any():
            row = given[at := int(wrong.argmax())]
            raise ConfigError(
                f"probabilities[{at}] should be numbers from 0 to 1 that add up to 1, got numbers from {row.min():g} "
                f"to {row.max():g}, a sum of {row.sum():g}"
            )
        places = np.arange(len(own)) if indices is None else _numbers(indices, "indices").astype(np.int64)
        if places.shape != own.shape or len(np.unique(places)) < len(own):
            raise ConfigError(f"indices should be ({len(own)},), each once, got {shown(indices)}")
        own_probability = given[np.arange(len(own)), own]  # (N,)
        better = (given > own_probability[:, None]).sum(1)  # (N,)
        earlier = ((given == own_probability[:, None]) & (np.arange(len(words)) < own[:, None])).sum(1)  # (N,)
        losses = -np.log(np.maximum(own_probability, np.finfo(np.float64).tiny))
        return cls(words, places, own, given.argmax(1), given.max(1), better + earlier, losses)

    def __repr__(self) -> str:
        figures = {"top-1": self.top(1), "top-3": self.top(3), "balanced accuracy": self.balanced_accuracy()}
        told = ", ".join(f"{name} {value:.2%}" for name, value in figures.items())
        return f"<Evaluation: drawings {self.n:,}, words {len(self.classes)}; {told}>"

    def compare(self, other: "Evaluation") -> Comparison:
        """How much better this is than another evaluation of the same drawings, and how sure that is.

        Args:
            other: of the same dataset or the same list of drawings; the models may have their words in another order.

        Raises:
            ConfigError: other drawings, or other words of them.
            ArgumentTypeError: no Evaluation.
        """
        expect(other, Evaluation, "other", "an Evaluation")
        if self.source and other.source and self.source != other.source:
            raise ConfigError(
                "the other evaluation is of another dataset, or of other drawings or another order of them"
            )
        orders = [scores.indices.argsort() for scores in (self, other)]
        pairs = list(zip((self, other), orders, strict=True))
        if not np.array_equal(self.indices[orders[0]], other.indices[orders[1]]):
            n_both = len(np.intersect1d(self.indices, other.indices))
            raise ConfigError(
                f"these are evaluations of {self.n} and {other.n} drawings with {n_both} indices in common; evaluate "
                "both on the same drawings and `words`, or give `Evaluation.of` the `indices`"
            )
        first, second = ([scores.classes[i] for i in scores.labels[order].tolist()] for scores, order in pairs)
        if first != second:
            at = next(i for i, (one, two) in enumerate(zip(first, second, strict=True)) if one != two)
            index = self.indices[orders[0]][at]
            raise ConfigError(
                f"drawing {index} is of {first[at]!r:.60} in one evaluation, of {second[at]!r:.60} in the other"
            )
        right = [scores.ranks[order] == 0 for scores, order in pairs]
        return compared(right[0], right[1], self.labels[orders[0]])

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
        return class_mean(self.losses, self.labels)

    def top(self, k: int) -> float:
        """Fraction of drawings whose class is among the model's first k."""
        return int((self.ranks < k).sum()) / self.n

    def map3(self) -> float:
        """Mean average precision of the first three guesses, by which Kaggle's contest of 2018 counted: a drawing has
        1, 1/2 or 1/3 where its class is the first, second or third of them."""
        return float(np.where(self.ranks < 3, 1 / (self.ranks + 1), 0.0).mean())

    def balanced_accuracy(self) -> float:
        """Macro-averaged top-1: the mean over the classes with drawings of each class's top-1."""
        return class_mean(self.ranks == 0, self.labels)

    def interval(self, k: int = 1) -> tuple[float, float]:
        """The 95% interval of top-k."""
        return wilson_interval(int((self.ranks < k).sum()), self.n)

    def balanced_accuracy_interval(self) -> tuple[float, float]:
        """The 95% interval of balanced accuracy: Wilson's for Kish's effective number of drawings, which is small where
        many classes have few drawings."""
        n = effective_n(self.labels)
        return wilson_interval(self.balanced_accuracy() * n, n)

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


def _numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        if callable(getattr(values, "detach", None)):  # a tensor, perhaps one with a gradient, in bfloat16, or on a GPU
            values = values.detach().cpu()  # type: ignore[union-attr]
            values = values if values.is_complex() else values.double()  # type: ignore[union-attr]
        array = np.asarray(values)
        if np.iscomplexobj(array):
            raise ValueError("complex numbers")
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentTypeError(f"{name} should be an array of numbers, got {shown(values)}") from error


def _labels(labels: Any, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Labels, or the words of these, as int64 (N,)."""
    items = expect_items(labels, "labels", "a word or an index for each drawing")
    if items and all(isinstance(item, str) for item in items):
        at = {word: position for position, word in enumerate(classes)}
        if unknown := next((word for word in items if word not in at), None):
            raise CategoryError(f"labels: {unknown!r:.60} is not among the {len(classes)} classes")
        return np.array([at[word] for word in items], dtype=np.int64)
    values = _numbers(items, "labels")
    whole = values.astype(np.int64) if np.isfinite(values).all() else np.zeros(values.shape, np.int64)
    wrong = (whole != values) | (whole < 0) | (whole >= len(classes))
    if values.ndim != 1 or wrong.any():
        told = f"a shape of {values.shape}" if values.ndim != 1 else f"{values[wrong][0]:g}"
        raise ConfigError(f"labels should be words, or integers (N,) from 0 to {len(classes) - 1}, got {told}")
    return whole
