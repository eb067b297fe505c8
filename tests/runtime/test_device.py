"""A device is chosen without a trace; determinism ends where it was asked for."""

import os

import pytest
import torch

from quickstroke.config.training import TrainConfig
from quickstroke.errors import ConfigError
from quickstroke.runtime.device import deterministic, pick_device
from quickstroke.runtime.distributed import Group


def test_picking_a_device_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert pick_device(TrainConfig(device="cpu", deterministic=True)) == torch.device("cpu")
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_each_process_of_a_machine_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: pytest.fail("changed the current device"))
    config = TrainConfig(device="cuda")
    assert pick_device(config) == torch.device("cuda")
    assert [pick_device(config, Group(rank, 4, rank % 2)) for rank in range(4)] == [
        torch.device("cuda", n) for n in (0, 1, 0, 1)
    ]
    with pytest.raises(ConfigError, match="process 2 of this machine has no CUDA device of its own: there are 2"):
        pick_device(config, Group(2, 3, 2))


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_determinism_is_restored(workspace: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    with pytest.raises(ZeroDivisionError), deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (workspace or ":4096:8")
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace


def test_determinism_that_a_caller_set_stays() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for enabled in (True, False):
            with deterministic(enabled):
                assert torch.are_deterministic_algorithms_enabled()
                assert torch.is_deterministic_algorithms_warn_only_enabled() != enabled
            assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_what_is_not_asked_for_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be told of determinism PyTorch imports its compiler: a second and 45 MB at the end of every training."""
    told: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, **options: told.append(mode))
    with deterministic(False):
        pass
    assert told == []
    with deterministic(True):
        pass
    assert told == [True, False]
