"""How likely it is that a drawing shows none of the words that a model knows."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quickstroke.errors import WeightsError
from quickstroke.utils.compiled import jit


@dataclass(frozen=True)
class UnknownScore:
    """The probability that a drawing shows none of the words: 1 / (1 + exp(slope * E - entropy * H - W - intercept)).

    E is the log-sum-exp of the drawing's logits, the negative of its free energy, which tells known from unknown inputs
    better than the highest probability does (Liu et al., Energy-based Out-of-distribution Detection, 2020). H is the
    entropy of the words' probabilities in nats: what is like many words a little is rarely one of them. W is the sum of
    all logits, none below `floor`, each times its number in `words`: what is no word of a model looks more like some of
    them than like others.
    """

    intercept: float
    slope: float
    entropy: float = 0.0  # older cards have none
    floor: float = 0.0
    words: tuple[float, ...] = ()  # one for each word, or none, as in older cards

    @classmethod
    def of_card(cls, card: dict[str, Any] | None, path: Path) -> Self | None:
        """That of a model's card; None where nothing was fitted, or for a model without a card.

        Raises:
            WeightsError: the card's entry `unknown` is damaged; `path` says whose it is.
        """
        entry = (card or {}).get("unknown")
        if entry is None:
            return None
        given = {"entropy": 0.0, "floor": 0.0, "words": []} | entry if isinstance(entry, dict) else {}
        words = given.get("words")
        if not isinstance(words, list) or len(words) not in (0, len((card or {}).get("classes", ()))):
            words = [None]
        every = [*(given.get(key) for key in ("intercept", "slope", "entropy", "floor")), *words]
        values = [float(value) for value in every if isinstance(value, (int, float)) and math.isfinite(value)]
        if len(values) != len(every) or values[1] <= 0 or values[2] < 0:
            raise WeightsError(
                f"{path}: unknown is {entry!r:.80}; expected finite numbers `intercept`, `slope` above 0, `entropy` of "
                "at least 0, `floor`, and `words`, a number for each word or none"
            )
        intercept, slope, entropy, floor, *of_words = values
        return cls(intercept, slope, entropy, floor, tuple(of_words))

    def entry(self) -> dict[str, Any]:
        """What a card has of it."""
        of_words = {"floor": self.floor, "words": list(self.words)} if self.words else {}
        return {"intercept": self.intercept, "slope": self.slope, "entropy": self.entropy} | of_words

    def probability(
        self, log_sum_exp: NDArray[np.float64], entropy: NDArray[np.float64], logits: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Float64 (B,), from logits float64 (B, K), their log-sum-exp and the entropy of their probabilities (B,)."""
        exponent = self.slope * log_sum_exp - self.entropy * entropy - self.intercept
        if self.words:
            exponent -= np.maximum(logits, self.floor) @ self._words
        return 1 / (1 + np.exp(np.minimum(np.maximum(exponent, -700), 700)))

    @functools.cached_property
    def _words(self) -> NDArray[np.float64]:
        return np.array(self.words, np.float64)

    @functools.cached_property
    def numbers(self) -> tuple[float, float, float, float, NDArray[np.float64]]:
        """Those of the formula: intercept, slope, entropy, floor, and float64 (K,) or (0,), of each word."""
        return self.intercept, self.slope, self.entropy, self.floor, self._words


class Outputs(NamedTuple):
    """What a model says of B drawings.

    Attributes:
        probabilities: float64 (B, K), of each word, given that the drawing shows one of them; rows sum to 1.
        unknown: float64 (B,), probability that it shows none of them; None where nothing was fitted.
        features: float32 (B, R), what the output layer reads; None of a file that does not give them.
    """

    probabilities: NDArray[np.float64]
    unknown: NDArray[np.float64] | None
    features: NDArray[np.float32] | None = None


def outputs_of(
    logits: NDArray[np.float64], score: UnknownScore | None, features: NDArray[np.float32] | None = None
) -> Outputs:
    """The outputs for logits float64 (B, K) and what they are made of."""
    highest = logits.max(1, keepdims=True)  # (B, 1)
    probabilities = np.exp(logits - highest)  # (B, K)
    total = probabilities.sum(1, keepdims=True)  # (B, 1)
    probabilities /= total
    if score is None:
        return Outputs(probabilities, None, features)
    log_sum_exp = (highest + np.log(total))[:, 0]  # (B,)
    entropy = log_sum_exp - (probabilities * logits).sum(1)  # (B,)
    return Outputs(probabilities, score.probability(log_sum_exp, entropy, logits), features)


def outputs_by_compiled_code(
    logits: NDArray[np.float64], score: UnknownScore | None, features: NDArray[np.float32]
) -> Outputs:
    """As `outputs_of`. NumPy's calls take as long as all there is to compute for one drawing, or as a small model."""
    probabilities, unknown = np.empty_like(logits), np.empty(len(logits))
    _fill_outputs(logits, score.numbers if score else _NO_NUMBERS, probabilities, unknown)
    return Outputs(probabilities, unknown if score else None, features)


_NO_NUMBERS = 0.0, 0.0, 0.0, 0.0, np.empty(0)


@jit(error_model="numpy")
def _fill_outputs(logits: Any, numbers: Any, probabilities: Any, unknown: Any) -> None:
    intercept, slope, entropy, floor, words = numbers
    for i in range(len(logits)):
        row, own = logits[i], probabilities[i]
        highest, total, mean, of_words = row[0], 0.0, 0.0, 0.0
        for k in range(len(row)):
            highest = max(highest, row[k])
        for k in range(len(row)):
            own[k] = np.exp(row[k] - highest)
            total += own[k]
        for k in range(len(row)):
            own[k] /= total
            mean += own[k] * row[k]
        for k in range(len(words)):
            of_words += max(row[k], floor) * words[k]
        log_sum_exp = highest + np.log(total)
        exponent = slope * log_sum_exp - entropy * (log_sum_exp - mean) - intercept - of_words
        unknown[i] = 1 / (1 + np.exp(min(max(exponent, -700.0), 700.0)))


def with_dots_unknown(outputs: Outputs, drawings: Sequence[Sequence[NDArray[np.uint8]]]) -> Outputs:
    """The outputs for B drawings, strokes (n, 2); those of dots alone show none of the words.

    A dot has no extent by which it could be told from a short line, which is a word.
    """
    if outputs.unknown is None:
        return outputs
    # As bytes, since NumPy would take a thirtieth of a guess here and below.
    is_dots = [all(stroke.tobytes() == stroke[:1].tobytes() * len(stroke) for stroke in own) for own in drawings]
    if not any(is_dots):
        return outputs
    return outputs._replace(unknown=np.where(is_dots, 1.0, outputs.unknown))


def among(outputs: Outputs, positions: NDArray[np.int64]) -> Outputs:
    """What is said of some classes (W,) alone, from what is said of all.

    The probabilities are the softmax of these classes' logits alone; they are equal where all of them are too small to
    be told from 0. `unknown` becomes that of none of these classes, of another one of the model's or of none.
    """
    chosen = outputs.probabilities[:, positions]
    total = chosen.sum(axis=1, keepdims=True)  # (B, 1)
    probabilities = np.where(total > 0, chosen / np.where(total > 0, total, 1), 1 / len(positions))
    unknown = None if outputs.unknown is None else 1 - (1 - outputs.unknown) * np.minimum(total[:, 0], 1)
    return Outputs(probabilities, unknown)
