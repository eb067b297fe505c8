"""Weights that a training begins with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickstroke.artifacts import cards, loading
from quickstroke.errors import ConfigError, WeightsError
from quickstroke.models.classifier import StrokeClassifier


@dataclass(frozen=True, slots=True)
class Begun:
    """What a model began with.

    Attributes:
        source: the name of the model that it came from.
        copied: the names of the tensors that were copied, whole or in part.
        n_tensors: how many the model has.
        n_words: of how many of the model's words the output layer's weights were copied.
    """

    source: str
    copied: list[str]
    n_tensors: int
    n_words: int


def begin_with(model: StrokeClassifier, classes: tuple[str, ...], paths: Sequence[str]) -> Begun:
    """Copies the weights of a published model or a run, or the mean of several, where names and shapes are the same.

    Rows of the output layer go by their word. The temperature that a published model was calibrated by is taken back:
    a training makes logits of its own size, and models have a mean where theirs are alike.

    Raises:
        ConfigError: nothing but the output layer would be, or several are not of one name and the same classes.
        WeightsError: a model cannot be loaded.
    """
    loaded, *others = [_uncalibrated(loading.load_model(cards.find_model(path))) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if (other.name, other.classes) != (loaded.name, loaded.classes):
            raise ConfigError(
                f"pretrained {path}: is {other.name} of {len(other.classes)} classes, and {paths[0]} is "
                f"{loaded.name} of {len(loaded.classes)}; only models of one name and the same classes have a mean"
            )
    source = _mean_weights([each.model.state_dict() for each in (loaded, *others)])
    copied, targets = [], model.state_dict()
    pairs = [(i, loaded.classes.index(word)) for i, word in enumerate(classes) if word in loaded.classes]
    with torch.no_grad():
        for name, target in targets.items():
            if name.startswith("linear."):
                if pairs and source[name].shape[1:] == target.shape[1:]:
                    ours, theirs = map(list, zip(*pairs, strict=True))
                    target[ours] = source[name][theirs].to(target.device)
                    copied.append(name)
            elif name in source and source[name].shape == target.shape:
                target.copy_(source[name])
                copied.append(name)
    if not any(name.startswith("lstm.") for name in copied):
        raise ConfigError(
            f"pretrained {paths[0]}: {loaded.name} has no layer of the shape that {model.config.name} has"
        )
    n_words = len(pairs) if "linear.weight" in copied else 0
    return Begun(loaded.name, copied, len(targets), n_words)


def _uncalibrated(loaded: loading.LoadedModel) -> loading.LoadedModel:
    """The model as it was before its calibration, but for the preference of classes, which is no matter of size.

    Raises:
        WeightsError: the card's temperature is none.
    """
    temperature = ((loaded.card or {}).get("calibration") or {}).get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise WeightsError(f"{loaded.path}: its card tells the temperature {temperature!r:.60}; expected one above 0")
    loaded.model.adjust_logits(temperature, torch.zeros(1))
    return loaded


def _mean_weights(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts of the same names and shapes; of counts, which are integers, the first."""
    return {
        name: torch.stack([each[name].double() for each in weights]).mean(0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in weights[0].items()
    }
