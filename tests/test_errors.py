"""Errors go from a worker process to its parent as they are."""

import copy
import mmap
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstroke.errors import ConfigError, FormatError, MissingExtra, is_out_of_memory
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


TOO_MUCH = 2**55  # bytes


def fails(error: Exception) -> None:
    raise error


def of_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(
    "take",
    [
        lambda: bytearray(TOO_MUCH),
        lambda: np.empty(TOO_MUCH, np.uint8),
        lambda: mmap.mmap(-1, TOO_MUCH),
        lambda: torch.empty(TOO_MUCH, dtype=torch.uint8),
        of_a_gpu,
        partial(fails, ImportError("libtorch_cpu.so: failed to map segment from shared object")),
        partial(fails, RuntimeError("could not create a primitive")),
    ],
    ids=["Python", "NumPy", "system", "PyTorch", "GPU", "loader", "oneDNN"],
)
def test_whoever_has_no_memory_left_is_understood(take: Callable[[], object]) -> None:
    with pytest.raises((MemoryError, OSError, RuntimeError, ImportError)) as raised:
        take()
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes"), OSError(28, "No space left on device"), ConfigError("1"), KeyboardInterrupt()]
)
def test_other_errors_are_not_taken_for_want_of_memory(error: BaseException) -> None:
    assert not is_out_of_memory(error)
