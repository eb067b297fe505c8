"""Small models with random weights, and points for them."""

import numpy as np
import torch
from numpy.typing import NDArray

from quickstroke.config.model import ModelConfig, Preprocessing
from quickstroke.data.points import n_channels
from quickstroke.kernels.raster import n_features
from quickstroke.models.classifier import StrokeClassifier

CLASSES = ("circle", "house", "star")
POOLED = (
    "bipool_lay1_sz4",
    "bipool_lay2_sz3",
    "bipool_cv1_5_4_lay1_sz3",
    "bipool_cv1_5_3_2_cv2_4_4_3_lay2_sz3",
    "bipool_cv1_5_3_2_img2_lay1_sz3",
)


def random_model(config: ModelConfig, seed: int = 0) -> StrokeClassifier:
    """Weights and statistics large enough that each of them shows in the output."""
    generator = torch.Generator().manual_seed(seed)
    model = StrokeClassifier(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
        if config.image:  # what is read of an image is never below 0: with such weights one class would take all
            model.linear.weight[:, -n_features(config.image) :] *= 0.2
        n = model.bn.num_features
        model.bn.running_mean.copy_(torch.randn(n, generator=generator))
        model.bn.running_var.copy_(0.1 + torch.rand(n, generator=generator))
    return model


def random_points(
    lengths: NDArray[np.int64], n_steps: int, seed: int = 0, preprocessing: Preprocessing = "delta3"
) -> NDArray[np.float32]:
    """Points (B, T, C) as drawings have them, zero after each drawing's end."""
    rng = np.random.default_rng(seed)
    points = np.zeros((len(lengths), n_steps, n_channels(preprocessing)), dtype=np.float32)
    for row, length in zip(points, lengths, strict=True):
        row[:length, :-1] = rng.uniform(-1, 1, (length, row.shape[1] - 1))
        row[:length, -1] = rng.integers(0, 2, length)
    return points
