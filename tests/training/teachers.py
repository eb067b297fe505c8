"""What teachers say of drawings; for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quickstroke.artifacts.loading import LoadedModel
from quickstroke.data import batches
from quickstroke.data.augmentation import Augmentation
from quickstroke.data.dataset import PreparedDataset
from quickstroke.training.distillation import Targets

Publish = Callable[..., Path]
OpenTargets = Callable[..., Targets]
FLAT = Augmentation()
# The training drawings of `dataset`: 40 of each word, followed by those of its other splits.
POOL = np.concatenate([np.arange(40) + 60 * word for word in range(3)])


def probabilities(loaded: LoadedModel, data: PreparedDataset, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a model says of drawings as they are."""
    batch = batches.batch_of(data, indices, np.arange(3), loaded.max_padding, loaded.preprocessing)
    return loaded.outputs(batch.points, batch.lengths).probabilities


def near(log_probs: NDArray[np.float16], theirs: Any) -> bool:
    """Whether logarithms are of these probabilities, to the rounding of 16 bits."""
    return np.allclose(np.exp(log_probs.astype(float)), theirs, rtol=2e-3, atol=1e-5)


def no_asking(n: int) -> None:
    pytest.fail("a teacher was asked")
