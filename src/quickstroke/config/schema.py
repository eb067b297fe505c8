"""Checks of dataclasses' fields, and TOML."""

import dataclasses
import math
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from quickstroke.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def check_types(config: Any) -> None:
    """Raises ConfigError when a field of a frozen dataclass has not its declared type.

    An int passes for a float. A number of NumPy becomes one of Python, and a list a tuple where that is declared.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = plain(getattr(config, field.name))
        if isinstance(value, list) and fits(tuple(value), hints[field.name]):
            value = tuple(value)
        object.__setattr__(config, field.name, value)
        if not fits(value, hints[field.name]):
            raise ConfigError(f"{field.name} should be {described(hints[field.name])}, got {value!r:.60}")


def plain(value: Any) -> Any:
    """A number of NumPy as one of Python; whatever else as it is."""
    numpy = sys.modules.get("numpy")  # without which there is none
    return value.item() if numpy and isinstance(value, numpy.generic) else value


def described(hint: Any) -> str:
    """A declared type in words."""
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if hint is float:
        return "a finite number"
    if hint == tuple[str, ...]:
        return 'a list of texts, ["..."]'
    return hint.__name__ if isinstance(hint, type) else str(hint)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has a declared type; an int passes for a float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[1:] == (Ellipsis,):
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if hint is float:
        return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**1023)
    return type(value) is hint


def check_positive(values: Mapping[str, float]) -> None:
    """Raises ConfigError naming the first value that is not above 0."""
    for key, value in values.items():
        if not value > 0:
            raise ConfigError(f"{key} should be above 0, got {value}")
