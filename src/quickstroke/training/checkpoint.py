"""last.ckpt: where a training stands, and all that resuming needs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from quickstroke.artifacts import weight_files
from quickstroke.artifacts.runs import with_current_keys
from quickstroke.errors import RunError, TrainingError, WeightsError, first_line
from quickstroke.training.optimizer import Adam
from quickstroke.utils.files import write_bytes

CHECKPOINT_VERSION = 1


@dataclass(slots=True)
class State:
    """Where a training stands; what last.ckpt holds beside weights and optimizer.

    Attributes:
        epoch: epochs that have ended.
        step: steps of the epoch under way.
        loss_sum: summed training loss of the epoch under way, over its drawings.
        seconds: spent on the epoch under way.
        best: validation accuracy of the best epoch so far, -1 before the first.
        best_epoch: that epoch, counted from 1.
        metrics: a line an epoch, as in metrics.jsonl.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list, repr=False)


def save_checkpoint(
    folder: Path,
    state: State,
    model: torch.nn.Module,
    optimizer: Adam,
    averaged: torch.nn.Module | None = None,
) -> None:
    """Writes last.ckpt, whole or not at all; `averaged` has the running average of the weights where there is one.

    Raises:
        TrainingError: the weights are not finite; the checkpoint before them stays.
    """
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise TrainingError(
            f"the weights of epoch {state.epoch + 1} after step {state.step} are not finite; what was good before them "
            f"is kept in {folder}; try a smaller --learning-rate"
        )
    payload = {
        "version": CHECKPOINT_VERSION,
        "state": {name: getattr(state, name) for name in State.__slots__},
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    if averaged is not None:
        payload["averaged"] = averaged.state_dict()
    if torch.cuda.is_available():
        payload["cuda_rng"] = torch.cuda.get_rng_state_all()
    write_bytes(folder / "last.ckpt", weight_files.torch_bytes(payload))


def load_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: Adam,
    averaged: torch.nn.Module | None = None,
) -> State:
    """Reads last.ckpt into a model, its optimizer and the running average of its weights.

    Raises:
        RunError: it is damaged, newer than this program, or of another model.
    """
    path = folder / "last.ckpt"
    device = next(model.parameters()).device
    try:
        payload = weight_files.load(path)
        version = payload["version"]
    except (WeightsError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path}: damaged checkpoint ({type(error).__name__}); remove it to start anew") from error
    if version != CHECKPOINT_VERSION:
        raise RunError(f"{path}: checkpoint version {version}, this program reads version {CHECKPOINT_VERSION}")
    try:
        model.load_state_dict(payload["model"])
        optimizer.load_state_dict(payload["optimizer"])
        if averaged is not None:
            averaged.load_state_dict(payload["averaged"])
        torch.set_rng_state(payload["rng"])
        if device.type == "cuda" and "cuda_rng" in payload:
            torch.cuda.set_rng_state_all(payload["cuda_rng"])
        state = State(**payload["state"])
        state.metrics = [with_current_keys(line) for line in state.metrics]
        return state
    except Exception as error:  # nor have the parts for what is not theirs
        raise RunError(f"{path}: not a checkpoint of this model ({first_line(error)})") from error
