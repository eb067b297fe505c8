"""Where the drawings of each trained word lie among the log-probabilities of a model, for comparing further words.

Dimensions: B drawings, K words of the model, D discriminants, N words to compare with.

Linear discriminant analysis (Fisher, 1936; Rao, 1948): the log-probabilities of the words are projected to the D
directions in which the means of the words differ most beside how the drawings of one word differ, scaled so that the
latter is 1 in all of them. What varies among drawings of one word then counts less than what tells words apart.

The card's entry `discriminant` has both matrices in 4 bits, 57 kB for 345 words: so all forms of a model have it.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quickstroke.artifacts.compact import quantized
from quickstroke.errors import WeightsError

# Less probable is as good as impossible: an `.onnx` file has no smaller numbers.
LOWEST = -69.0
# Whole numbers from -7 to 7, two in a byte, the first one in its lower half.
_HIGHEST = 7
# By so much a drawing's distances to the trained words count in their sum: features vary together.
_TEMPERATURE = 0.2


@dataclass(frozen=True, slots=True)
class Discriminant:
    """The statistics of a model's trained words.

    Attributes:
        projection: float64 (D, K), of log-probabilities to discriminants.
        means: float64 (D, K), of the drawings of each word, projected.
    """

    projection: NDArray[np.float64]
    means: NDArray[np.float64]

    @classmethod
    def of_card(cls, card: dict[str, Any], path: Path) -> Self | None:
        """That of a model's card; None for a model without.

        Raises:
            WeightsError: the entry is damaged; `path` says whose it is.
        """
        entry, n = card.get("discriminant"), len(card["classes"])
        if entry is None:
            return None
        try:
            projection, means = (_unpacked(entry[key], n) for key in ("projection", "means"))
            if len(projection) != len(means):
                raise ValueError(f"{len(projection)} rows, and {len(means)} of means")
            return cls(projection, means)
        except (LookupError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {error!s:.80}"
            raise WeightsError(f"{path}: its discriminant is damaged ({what})") from error

    def entry(self) -> dict[str, Any]:
        """The card's entry, from which `of_card` makes the same where both matrices are `rounded`."""
        return {"projection": _packed(self.projection), "means": _packed(self.means)}

    def project(self, log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Discriminants float64 (B, D) of log-probabilities (B, K), zero in the middle of the trained words."""
        x = np.maximum(log_probabilities, LOWEST)
        projected: NDArray[np.float64] = (x - x.mean(1, keepdims=True)) @ self.projection.T - self.means.mean(1)
        return projected

    def evidence(self, projected: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
        """The log-likelihood float64 (B, N) of words with `means` (N, D), less that of the trained words together."""
        centred = self.means.T - self.means.mean(1)  # (K, D)
        trained = _TEMPERATURE * _log_likelihood(projected, centred)  # (B, K)
        highest = trained.max(1, keepdims=True)  # (B, 1)
        together = (highest + np.log(np.exp(trained - highest).sum(1, keepdims=True))) / _TEMPERATURE  # (B, 1)
        result: NDArray[np.float64] = _log_likelihood(projected, means) - together
        return result


def _log_likelihood(projected: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of normal distributions of variance 1 (B, N), but for what is the same for all of a row."""
    result: NDArray[np.float64] = projected @ means.T - np.square(means).sum(1) / 2
    return result


def rounded(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (D, K) as a card has them."""
    return _unpacked(_packed(rows), rows.shape[1])


def _packed(rows: NDArray[np.float64]) -> dict[str, Any]:
    numbers, scales = quantized(rows.astype(np.float32), _HIGHEST)
    flat = np.append(numbers.ravel(), np.zeros(numbers.size % 2, np.int8)).astype(np.uint8) & 15
    packed = base64.b64encode((flat[::2] | flat[1::2] << 4).tobytes()).decode()
    return {"int4": packed, "scales": [float(f"{scale:.4g}") for scale in scales.tolist()]}


def _unpacked(entry: dict[str, Any], n: int) -> NDArray[np.float64]:
    """Rows float64 (D, n)."""
    packed = np.frombuffer(base64.b64decode(entry["int4"], validate=True), np.uint8)
    scales = np.array(entry["scales"], np.float64)
    n_numbers = scales.size * n
    if scales.ndim != 1 or not n_numbers or not np.isfinite(scales).all() or len(packed) != (n_numbers + 1) // 2:
        raise ValueError(f"{len(packed)} bytes for {scales.size} rows of {n}")
    # From 4 bits with a sign, in two's complement.
    numbers = (np.stack([packed & 15, packed >> 4], 1).ravel()[:n_numbers] ^ 8).astype(np.float64) - 8
    return numbers.reshape(-1, n) * scales[:, None]
