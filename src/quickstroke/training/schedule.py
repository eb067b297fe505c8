"""The learning rate from step to step."""

import math

from quickstroke.config.training import TrainConfig
from quickstroke.training.optimizer import Adam


def set_learning_rate(optimizer: Adam, config: TrainConfig, progress: float, step: float = 0.0) -> None:
    """Sets the learning rate of the next step.

    Args:
        optimizer: whose it is.
        config: of the training.
        progress: the part of all epochs that is done, 0 to 1.
        step: the part of all epochs that the step is; the warm-up counts it, so that its first step moves the weights.
    """
    factor = 1.0
    if progress < config.warmup:
        factor = min(1.0, (progress + step) / config.warmup)
    elif config.schedule == "cosine":
        factor = 0.5 + 0.5 * math.cos(math.pi * (progress - config.warmup) / (1 - config.warmup))
    optimizer.learning_rate = config.learning_rate * factor
