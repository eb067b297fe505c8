"""Errors go from a worker process to its parent as they are."""

import copy
import pickle
from pathlib import Path

import pytest

from quickstroke.errors import ConfigError, FormatError, MissingExtra
from quickstroke.training.checkpoint import State
from quickstroke.training.session import Interrupted


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no such option"),
        FormatError("too short", Path("cat.bin"), offset=15),
        MissingExtra("render", "render"),
        Interrupted(State(epoch=2, step=7)),
    ],
)
def test_an_error_survives_pickling_and_copying(error: Exception) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert str(MissingExtra("render", "images")) == (
        "render needs packages that are not installed: pip install 'quickstroke[images]'"
    )
