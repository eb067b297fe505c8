"""Small models to judge, and what they say of drawings; for the tests of this folder."""

import numpy as np
import torch

from quickstroke.config.model import ModelConfig
from quickstroke.data import batches
from quickstroke.data.selection import LabelledDrawings
from quickstroke.models.classifier import StrokeClassifier


def small(name="lstm_cv1_4_3_lay1_sz8", reading="length-aware", n_classes=3, seed=0):
    torch.manual_seed(seed)
    model = StrokeClassifier(ModelConfig.from_name(name, reading=reading, n_classes=n_classes))
    with torch.no_grad():  # far from uniform predictions
        model.linear.weight.mul_(20)
    return model.eval()


def whole(data):
    return np.arange(len(data))


def identity(data):
    return np.arange(len(data.classes))


def labelled(data, indices=None):
    return LabelledDrawings(data, whole(data) if indices is None else indices, tuple(data.classes), identity(data))


def direct_logits(model, data, indices):
    """Logits one drawing at a time, in float64."""
    rows = []
    with torch.no_grad():
        for index in indices:
            config = model.config
            batch = batches.batch_of(data, np.array([index]), identity(data), config.max_padding, config.preprocessing)
            rows.append(model(torch.from_numpy(batch.points), torch.from_numpy(batch.lengths)).double())
    return torch.cat(rows)
