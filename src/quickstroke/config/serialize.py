"""Configurations to JSON values and back."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from quickstroke.config import former
from quickstroke.config.model import ModelConfig
from quickstroke.config.recipes import PLAIN, without_former_recipe
from quickstroke.config.training import TrainConfig
from quickstroke.errors import ConfigError

Config = TypeVar("Config", ModelConfig, TrainConfig)


def to_json(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """A configuration as JSON values; `from_json` reads it back."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
        if (key, value) != ("image", None)  # so that older versions read all models that look at none
    }


def from_json(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """A configuration from JSON or TOML values; keys that are left out have their defaults, those of the recipe.

    Names of earlier versions are read as those of today, and their recipes with the values that they had then.

    Raises:
        ConfigError: an unknown key, a deleted option, a wrong type or an impossible value; `where` says
            whose values they are.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: should be an object of keys and values, got {values!r:.60}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if kind is TrainConfig:
        values = without_former_recipe(former.without_deleted(former.renamed(values, where), where))
        # Earlier configurations have one path or null.
        if isinstance(path := values.get("pretrained", ()), str | None):
            values["pretrained"] = () if path is None else (path,)
    fields = {field.name for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            like = difflib.get_close_matches(str(key).replace("-", "_"), fields, 1)
            hint = f"did you mean {like[0]}?" if like else f"expected {', '.join(sorted(fields))}"
            if isinstance(values[key], dict):
                hint = "options stand in no table"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def from_record(values: Mapping[str, Any], where: str) -> TrainConfig:
    """The configuration of a training that a run or a card tells of.

    A key that it lacks is an option that its version did not have, and what it trained did without. Deleted options
    are left out, whatever they were: see `former.deleted_options`.

    Raises:
        ConfigError: as `from_json`.
    """
    if isinstance(values, Mapping):
        known = {key: value for key, value in values.items() if key not in former.DELETED}
        values = PLAIN | former.renamed(known, where)
    return from_json(TrainConfig, values, where)
