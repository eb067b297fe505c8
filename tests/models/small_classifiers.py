"""Small models whose batch norm is not the identity, and drawings for them; for the tests of this folder."""

import numpy as np
import torch
import torch.nn.functional as F

from quickstroke.config.model import ModelConfig
from quickstroke.models.classifier import StrokeClassifier

SMALL = (
    "simple_lay1_sz5",
    "simple_lay2_sz4",
    "lstm_cv1_6_5_lay1_sz4",
    "lstm_cv1_6_3_cv2_4_2_lay2_sz3",
    "bilstm_lay1_sz4",
    "bilstm_lay2_sz3",
    "bilstm_cv1_5_4_lay1_sz3",
    "bilstm_cv1_5_3_cv2_4_2_lay2_sz3",
)
POOLED = (
    "bipool_lay1_sz4",
    "bipool_lay2_sz3",
    "bipool_cv1_6_5_lay1_sz4",
    "bipool_cv1_5_4_2_lay1_sz3",
    "bipool_cv1_6_3_cv2_4_2_3_lay2_sz3",
    "bipool_cv1_6_1_2_cv2_4_5_2_lay2_sz3",
    "bipool_img2_lay1_sz4",
    "bipool_cv1_5_4_2_img3_lay2_sz3",
)
MAX_PADDING = 12


def build(name, reading="length-aware", seed=0, n_classes=4, max_padding=MAX_PADDING, dropout=0.0):
    """A small model whose batch norm is not the identity."""
    torch.manual_seed(seed)
    config = ModelConfig.from_name(name, reading=reading, n_classes=n_classes, max_padding=max_padding)
    model = StrokeClassifier(config, dropout)
    n = model.bn.num_features
    with torch.no_grad():
        model.bn.weight.copy_(torch.tensor([1.5, 0.7, 1.1, 0.9, 1.2][:n]))
        model.bn.bias.copy_(torch.tensor([0.1, -0.4, 0.3, -0.2, 0.2][:n]))
        model.bn.running_mean.copy_(torch.tensor([0.05, -0.1, 0.2, 0.1, -0.3][:n]))
        model.bn.running_var.copy_(torch.tensor([0.5, 0.2, 0.1, 0.3, 0.4][:n]))
    return model


def random_drawing(length, rng, n_columns=3):
    return torch.from_numpy(rng.normal(0.02, 0.3, (length, n_columns)).astype(np.float32))


def random_drawings(model, lengths, rng):
    return [random_drawing(length, rng, model.bn.num_features) for length in lengths]


def batch_of(drawings, width=None):
    """Drawings (n, 3) as points (B, T, 3) and lengths."""
    lengths = torch.tensor([len(drawing) for drawing in drawings], dtype=torch.int64)
    points = torch.zeros(len(drawings), int(lengths.max()) if width is None else width, drawings[0].shape[1])
    for row, drawing in zip(points, drawings, strict=True):
        row[: len(drawing)] = drawing
    return points, lengths


def gradients(model, logits, labels):
    model.zero_grad()
    F.cross_entropy(logits, labels).backward()
    return {key: parameter.grad.clone() for key, parameter in model.named_parameters()}


def assert_same(ours, theirs, tolerance=1e-5):
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=tolerance, atol=tolerance, msg=lambda m, k=key: k + m)
