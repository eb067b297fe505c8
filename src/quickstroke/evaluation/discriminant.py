"""Linear discriminant analysis of a model's trained words, by drawings that it was trained on."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.artifacts.discriminant import LOWEST, Discriminant, rounded

# Drawings of each word: more change the figures of benchmarks/teaching.py by less than they vary.
N_EACH = 60
# Words: of fewer the differences between words are not known well enough for words beyond them.
LEAST_WORDS = 50
N_DIMENSIONS = 120
# Of the covariance within words, that of directions that differ alike. Chosen like N_DIMENSIONS on validation drawings.
_SHRINKAGE = 0.3


def some_of_each(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to N_EACH positions of each label, the same ones each time, in order."""
    order = np.random.default_rng(0).permutation(len(labels))
    by_label = order[np.argsort(labels[order], kind="stable")]
    n = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(n) - n, n)
    return np.sort(by_label[rank < N_EACH])


def fit_discriminant(logits: Tensor, labels: NDArray[np.int64]) -> Discriminant | None:
    """The statistics of drawings by their logits float64 (N, K) and labels int64 (N,).

    Words count alike, however many drawings each has.

    Returns:
        None for fewer than 50 words, or where a word has fewer than two drawings.
    """
    n_words = logits.shape[1]
    n = np.bincount(labels, minlength=n_words)
    if n_words < LEAST_WORDS or n.min() < 2:
        return None
    x = np.maximum(logits.log_softmax(1).numpy(), LOWEST)  # (N, K)
    x -= x.mean(1, keepdims=True)
    order = np.argsort(labels, kind="stable")
    means = np.add.reduceat(x[order], np.cumsum(n) - n) / n[:, None]  # (K, K), a row for each word
    residuals = (x - means[labels]) / np.sqrt((n - 1) * n_words)[labels, None]  # (N, K)
    variances, directions = np.linalg.eigh(residuals.T @ residuals)
    shrunk = (1 - _SHRINKAGE) * variances + _SHRINKAGE * variances.mean()
    whitening = directions / np.sqrt(shrunk)  # (K, K)
    centred = (means - means.mean(0)) @ whitening
    _, between = np.linalg.eigh(centred.T @ centred)
    projection = rounded((whitening @ between[:, ::-1][:, : min(N_DIMENSIONS, n_words - 1)]).T)  # (D, K)
    return Discriminant(projection, rounded(projection @ means.T))
