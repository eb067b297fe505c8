"""Batch norm's statistics over given drawings, once and for all."""

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.data import batches
from quickstroke.data.batches import Drawings
from quickstroke.models.classifier import StrokeClassifier

# Of batch norm's statistics, at a time; and so many are put in order of length, since of millions that takes memory.
_CHUNK_DRAWINGS = 512
_POOL_DRAWINGS = 1 << 17


def reestimate_batchnorm(model: StrokeClassifier, data: Drawings, indices: NDArray[np.int64]) -> None:
    """Sets batch norm's running mean and unbiased variance to those over all rows of the drawings `indices` (N,).

    The rows are those that the model's reading counts: all `max_padding` of each drawing when it is padded, else the
    true ones. No label is used.
    """
    n_channels = model.bn.num_features
    total, squares, n = np.zeros(n_channels), np.zeros(n_channels), 0
    for rows in _chunks(data, indices, model):
        total += rows.sum(axis=0)
        squares += (rows * rows).sum(axis=0)
        n += len(rows)
    if model.config.reading == "padded":
        n = len(indices) * model.config.max_padding
    if n == 0:
        return
    mean = total / n
    var = (squares - n * mean * mean) / max(n - 1, 1)
    cast(Tensor, model.bn.running_mean).copy_(torch.from_numpy(mean))
    cast(Tensor, model.bn.running_var).copy_(torch.from_numpy(var))


def _chunks(data: Drawings, indices: NDArray[np.int64], model: StrokeClassifier) -> Iterator[NDArray[np.float64]]:
    """The true rows (R, C) of some drawings at a time; padded rows are zeros and add nothing to a sum."""
    for pool in batches.cut(indices, _POOL_DRAWINGS):
        for part in batches.by_length(pool, batches.n_points_of(data, pool), _CHUNK_DRAWINGS):
            points, lengths = batches.points_of(data, part, model.config.max_padding, model.config.preprocessing)
            yield points[np.arange(points.shape[1]) < lengths[:, None]].astype(np.float64)
