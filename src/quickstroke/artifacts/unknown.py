"""How likely it is that a drawing shows none of the words that a model knows."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quickstroke.errors import WeightsError


@dataclass(frozen=True, slots=True)
class UnknownScore:
    """The probability that a drawing shows none of the words: 1 / (1 + exp(slope * E - intercept)).

    E is the log-sum-exp of the drawing's logits, the negative of its free energy, which tells known from unknown inputs
    better than the highest probability does (Liu et al., Energy-based Out-of-distribution Detection, 2020).
    """

    intercept: float
    slope: float

    @classmethod
    def of_card(cls, card: dict[str, Any] | None, path: Path) -> Self | None:
        """That of a model's card; None where nothing was fitted, or for a model without a card.

        Raises:
            WeightsError: the card's entry `unknown` is damaged; `path` says whose it is.
        """
        entry = (card or {}).get("unknown")
        if entry is None:
            return None
        values = [entry.get(key) for key in ("intercept", "slope")] if isinstance(entry, dict) else []
        numbers = [float(value) for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
        if len(numbers) != 2 or numbers[1] <= 0:
            raise WeightsError(
                f"{path}: unknown is {entry!r:.80}; expected finite numbers `intercept` and `slope`, the latter above 0"
            )
        return cls(*numbers)

    def probability(self, log_sum_exp: NDArray[np.float64]) -> NDArray[np.float64]:
        """Float64 (B,), from the log-sum-exp float64 (B,) of each drawing's logits."""
        exponent = np.clip(self.slope * log_sum_exp - self.intercept, -700, 700)
        result: NDArray[np.float64] = 1 / (1 + np.exp(exponent))
        return result


class Outputs(NamedTuple):
    """What a model says of B drawings.

    Attributes:
        probabilities: float64 (B, K), of each word, given that the drawing shows one of them; rows sum to 1.
        unknown: float64 (B,), probability that it shows none of them; None where nothing was fitted.
    """

    probabilities: NDArray[np.float64]
    unknown: NDArray[np.float64] | None


def outputs_of(logits: NDArray[np.float64], score: UnknownScore | None) -> Outputs:
    """The outputs for logits float64 (B, K)."""
    highest = logits.max(1, keepdims=True)  # (B, 1)
    values = np.exp(logits - highest)  # (B, K)
    total = values.sum(1, keepdims=True)  # (B, 1)
    unknown = score.probability((highest + np.log(total))[:, 0]) if score else None  # (B,)
    return Outputs(values / total, unknown)
