"""Which labels does a model doubt that has not learnt these drawings?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.artifacts.loading import LoadedModel
from quickstroke.data.dataset import PreparedDataset
from quickstroke.data.selection import LabelledDrawings
from quickstroke.evaluation.calibration import logits_on


class Doubts(NamedTuple):
    """What a model says of the labels of N drawings.

    Attributes:
        rows: int64 (N,), which drawings of the dataset.
        doubt: float64 (N,), in nats: how much less likely the label is than the model's guesses are on the whole: the
            negative of its log-probability, less the entropy of all. A label is not doubted for a drawing that could be
            many things.
        guess: int64 (N,), the most probable word, by its label in the dataset.
    """

    rows: NDArray[np.int64]
    doubt: NDArray[np.float64]
    guess: NDArray[np.int64]


def doubts_on(loaded: LoadedModel, data: PreparedDataset, split: str) -> Doubts:
    """The doubts about the labels of a split, from a model that has not learnt its drawings."""
    drawings = LabelledDrawings.of_split(data, split, loaded.classes)
    log_p = logits_on(loaded.model, drawings).log_softmax(1).numpy()  # (N, K)
    own = log_p[np.arange(len(drawings)), drawings.labels]  # (N,)
    entropy = -(np.exp(log_p) * log_p).sum(1)  # (N,)
    label_of = np.array([data.classes.index(word) for word in loaded.classes])
    return Doubts(drawings.indices, -own - entropy, label_of[log_p.argmax(1)])


def most_doubted(doubts: list[Doubts], n: int) -> Doubts:
    """The `n` most doubted labels of all, first the most doubted."""
    rows, doubt, guess = (np.concatenate(part) for part in zip(*doubts, strict=True))
    order = np.lexsort((rows, -doubt))[:n]
    return Doubts(rows[order], doubt[order], guess[order])
