"""Flags say what giving them does: a `--no-...` what is then left undone."""

import dataclasses
import importlib
import re
from typing import Any, get_args, get_type_hints

import pytest

from quickstroke import cli

NEGATIONS = ("do not ", "leave out ", "show no ", "without ", "no ")


def flags(command: str) -> dict[str, tuple[Any, str]]:
    """The default and the help of each flag of a command."""
    options = importlib.import_module(f"quickstroke.cli.{command}").Options
    hints = get_type_hints(options, include_extras=True)
    found = {}
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        if getattr(hint, "__origin__", hint) is bool:
            told = re.search(rf"^ +{field.name}: (.+)", options.__doc__, re.M)
            found[field.name] = field.default, told[1] if told else ""
    return found


# `models` has `--json` alone, and defines its options where they are needed.
COMMANDS = [command for command in cli.COMMANDS if command != "models"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_flag_says_what_giving_it_does(command: str) -> None:
    for name, (default, text) in flags(command).items():
        # One that is on by default would be drawn as --no-NAME beside the help of NAME.
        assert default is False, name
        assert text.startswith(NEGATIONS) or not name.startswith("no_"), f"--{name}: {text}"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_has_a_help_text(command: str) -> None:
    kind = importlib.import_module(f"quickstroke.cli.{command}").Options
    for field in dataclasses.fields(kind):
        marks = get_args(field.type)
        is_annotated = any(getattr(mark, "help", None) for mark in marks)
        is_nested = any(map(dataclasses.is_dataclass, marks)) or dataclasses.is_dataclass(field.type)
        is_told = re.search(rf"^ +(\w+, )*{field.name}(, \w+)*: \S", kind.__doc__, re.M)
        assert is_annotated or is_nested or is_told, f"{command} {field.name}"


def test_flags_that_say_no_are_looked_at() -> None:
    negated = {f"{command} {name}" for command in COMMANDS for name in flags(command) if name.startswith("no_")}
    assert {"publish no_calibrate", "render no_captions", "report no_mistakes"} <= negated
