"""What a search tries: a space over the options of a training and the sizes of a model, as TOML declares it.

learning_rate = { low = 0.0005, high = 0.02, log = true }   a range: of whole numbers where the option takes those
batch_size = [64, 128, 256]                                 choices
label_smoothing = 0.1                                       one value for all trials
"""

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quickstroke.config import former, schema
from quickstroke.config import recipes as recipes_module
from quickstroke.config.model import ModelConfig
from quickstroke.config.training import TrainConfig
from quickstroke.errors import ConfigError

# The validation figures that may rank trials.
Metric = typing.Literal["top1", "balanced_accuracy"]

# Where nothing is declared. What they mean hardly depends on model and data, and all of them matter.
DEFAULT: dict[str, Any] = {
    "learning_rate": {"low": 0.0005, "high": 0.02, "log": True},
    "batch_size": [32, 64, 128, 256],
    "weight_decay": {"low": 0.001, "high": 0.1, "log": True},
    "dropout": {"low": 0.0, "high": 0.4},
    "schedule": ["constant", "cosine"],
}

# The parts of a model's shape that a search may change; the others are those of its name.
SIZES = ("n_layers", "hidden_size", "conv1", "conv2", "image")
# How the choice among several model names is called beside the other keys.
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        log: all orders of magnitude alike.
        step: the distance of neighbours, None for any number (of whole ones 1).
        is_whole: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_whole: bool = False

    @property
    def extremes(self) -> tuple[float, ...]:
        """The values that must be possible for all to be."""
        return self.low, self.high

    def __str__(self) -> str:
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{step}" + " (log)" * self.log


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, without an order."""

    values: tuple[Any, ...]

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that must be possible for all to be."""
        return self.values

    def __str__(self) -> str:
        *most, last = map(str, self.values)
        return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True, slots=True)
class Space:
    """A checked space.

    Attributes:
        names: the model names to begin with; of several, one is chosen for each trial.
        fixed: what all trials have in common, beside the defaults of their recipe.
        tuned: what is tried, by key; `model` where there are several names.
    """

    names: tuple[str, ...]
    fixed: dict[str, Any]
    tuned: dict[str, Range | Choices]

    @property
    def metric(self) -> Metric:
        """What ranks trials: balanced accuracy where each selects its epoch by the balanced loss, else top-1."""
        return "balanced_accuracy" if self.fixed.get("select_by") == "balanced_loss" else "top1"

    def trial(self, values: Mapping[str, Any]) -> tuple[ModelConfig, TrainConfig]:
        """The model and the training that some values of the tuned keys make.

        Raises:
            ConfigError: they do not go together.
        """
        values = self.fixed | dict(values)
        name = values.pop(MODEL, self.names[0])
        sizes = {key: values.pop(key) for key in SIZES if key in values}
        config = TrainConfig(**values)
        return replace(ModelConfig.from_name(name, max_padding=config.max_padding), **sizes), config

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values."""
        recipe = self.tuned.get("recipe")
        recipes: tuple[Any, ...] = recipe.extremes if recipe else (self.fixed.get("recipe", "default"),)
        return {
            "names": list(self.names),
            "fixed": {key: _as_json(value) for key, value in sorted(self.fixed.items())},
            "tuned": {
                key: [_as_json(value) for value in domain.values]
                if isinstance(domain, Choices)
                else dataclasses.asdict(domain)
                for key, domain in sorted(self.tuned.items())
            },
            "recipes": {name: recipes_module.RECIPES[name] for name in recipes},
        }


def declare(names: Sequence[str], declared: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Space:
    """A space from what TOML says, checked to its ends.

    Args:
        names: model names.
        declared: of each key a range, choices or one value, as in `DEFAULT`.
        given: options that are fixed whatever was declared.
        where: whose declaration it is, for messages.

    Raises:
        ConfigError: an unknown key, a deleted option, a wrong type, an empty range, an impossible value, or nothing to
            try.
        ModelNameError: a malformed name.
    """
    if not names:
        raise ConfigError("no model to try; expected one or more names such as simple_lay1_sz64")
    hints = typing.get_type_hints(TrainConfig)
    hints |= {key: hint for key, hint in typing.get_type_hints(ModelConfig).items() if key in SIZES}
    fixed: dict[str, Any] = {}
    tuned: dict[str, Range | Choices] = {}
    if len(names) > 1:
        tuned[MODEL] = _choices(list(names), str, "NAME...")
    known = former.without_deleted(former.renamed(declared, where), where)
    for key, value in recipes_module.without_former_recipe(known).items():
        if key not in hints:
            raise ConfigError(f"{where}: unknown key {key!r}; expected {', '.join(sorted(hints))}")
        one = _frozen(value)
        if schema.fits(one, hints[key]):
            fixed[key] = one
        elif isinstance(value, dict):
            tuned[key] = _range(value, hints[key], f"{where}: {key}")
        elif isinstance(value, list):
            tuned[key] = _choices(value, hints[key], f"{where}: {key}")
        else:
            raise ConfigError(f"{where}: {key} should be {schema.described(hints[key])}, got {value!r:.60}")
    tuned = {key: domain for key, domain in tuned.items() if key not in given}
    space = Space(tuple(names), fixed | dict(given), tuned)
    if not tuned:
        raise ConfigError(f"{where}: every value is fixed, so there is nothing to search")
    some = {key: domain.extremes[0] for key, domain in tuned.items()}
    for key, domain in tuned.items():
        for value in domain.extremes:
            try:
                space.trial(some | {key: value})
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
    return space


def _range(value: Mapping[str, Any], hint: Any, where: str) -> Range:
    if hint not in (int, float):
        raise ConfigError(f"{where}: a range is for numbers; expected a value or a list of {schema.described(hint)}")
    for name in value:
        if name not in ("low", "high", "log", "step"):
            raise ConfigError(f"{where}: unknown {name!r} in a range; expected low, high, log, step")
    for name in ("low", "high"):
        if name not in value:
            raise ConfigError(f"{where}: a range needs {name!r}, got {dict(value)!r:.60}")
    for name in ("low", "high", "step"):
        if name in value and not schema.fits(value[name], hint):
            raise ConfigError(f"{where}: {name} should be {schema.described(hint)}, got {value[name]!r:.60}")
    low, high, step, log = value["low"], value["high"], value.get("step"), value.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log should be true or false, got {log!r:.60}")
    if not low < high:
        raise ConfigError(f"{where}: an empty range: low should be below high, got {low} and {high}")
    if log and low <= 0:
        raise ConfigError(f"{where}: low should be above 0 where log = true, got {low}")
    if step is not None and log:
        raise ConfigError(f"{where}: step does not go with log = true")
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"{where}: step should be above 0 and at most high - low = {high - low:g}, got {step}")
    if step is not None:  # the last that the steps reach
        high = low + step * math.floor((high - low) / step + 1e-9)
    return Range(low, high, log, step, hint is int)


def _choices(values: list[Any], hint: Any, where: str) -> Choices:
    frozen = tuple(map(_frozen, values))
    if not frozen:
        raise ConfigError(f"{where}: an empty list; expected one choice or more")
    for value in frozen:
        if not schema.fits(value, hint):
            raise ConfigError(f"{where}: should be {schema.described(hint)}, got {value!r:.60}")
        if frozen.count(value) > 1:
            raise ConfigError(f"{where}: {value!r:.60} stands there twice")
    return Choices(frozen)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
