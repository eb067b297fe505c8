"""The device that a configuration asks for; arrays on that device."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.config.training import TrainConfig
from quickstroke.errors import ConfigError
from quickstroke.runtime.distributed import ALONE, Group


def to_device(values: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """An array or CPU tensor as a tensor on a device: a CPU shares its memory, a GPU gets a copy without waiting."""
    tensor = torch.as_tensor(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def pick_device(config: TrainConfig, group: Group = ALONE) -> torch.device:
    """The device that a configuration means; several processes of one machine have a GPU each.

    Raises:
        ConfigError: `cuda` where there is none.
    """
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("device 'cuda' was asked for, but PyTorch finds no CUDA device here")
    if not available or config.device == "cpu":
        return torch.device("cpu")
    if group.size > 1:
        n_devices = torch.cuda.device_count()
        if group.local_rank >= n_devices:
            raise ConfigError(
                f"process {group.local_rank} of this machine has no CUDA device of its own: there are {n_devices}; "
                "start fewer, or train with --device cpu"
            )
        return torch.device("cuda", group.local_rank)
    return torch.device("cuda")


@contextlib.contextmanager
def deterministic(enabled: bool) -> Iterator[None]:
    """Has PyTorch refuse operations whose results vary, where `enabled`; at the end all is as it was before."""
    if not enabled:  # to say so has PyTorch import its compiler, which takes a second and 45 MB
        yield
        return
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS's results vary
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
