"""One step of a training: gradients, the update of the weights and their average, and the losses."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstroke.config.training import TrainConfig
from quickstroke.errors import TrainingError
from quickstroke.runtime.distributed import Group
from quickstroke.training.checkpoint import State
from quickstroke.training.feed import MicroBatch
from quickstroke.training.optimizer import Adam

# Steps whose losses are read together where a GPU has to be waited for.
_STEPS_AT_ONCE = 64


def accumulate_gradients(
    config: TrainConfig,
    model: nn.Module,
    optimizer: Adam,
    micro_batches: Iterable[MicroBatch],
    device: torch.device,
    group: Group,
) -> Tensor:
    """Computes the gradients of a batch; returns this process's part of its mean loss, float64 ()."""
    optimizer.zero_grad()
    own_loss = torch.zeros((), dtype=torch.float64, device=device)
    # On a CPU the model sees to the precision of its products; other devices may have no autocast at all.
    is_mixed = device.type == "cuda" and config.precision == "bfloat16"
    products = torch.autocast("cuda", torch.bfloat16) if is_mixed else contextlib.nullcontext()
    for micro_batch in micro_batches:
        with products:
            logits = model(micro_batch.points, micro_batch.lengths, auxiliary=True).float()  # (B, K) or (B, 3, K)
        joint, *branches = logits.unbind(1) if logits.ndim == 3 else (logits,)
        loss = _loss(config, joint, micro_batch.goal) * micro_batch.part
        # The heads of points and image have auxiliary losses of half the weight each, so that neither branch relies on
        # the other. The loss in the metrics is that of the joint logits.
        auxiliary = [_loss(config, each, micro_batch.goal) * (micro_batch.part / len(branches)) for each in branches]
        sum(auxiliary, loss).backward()  # type: ignore[no-untyped-call]
        own_loss += loss.detach()
    group.sum_gradients(model)
    return own_loss


def update_weights(
    config: TrainConfig,
    model: nn.Module,
    optimizer: Adam,
    averaged: nn.Module | None,
    is_skipped: Tensor,
    n_steps: int,
) -> None:
    """Moves the weights, after `n_steps` steps, along their gradients, and their average; see `Adam.step`."""
    if config.max_grad_norm:
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step(is_skipped)
    if averaged is not None:
        average(averaged, model, config.ema_decay, n_steps, is_skipped)


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float, n_steps: int, is_skipped: Tensor) -> None:
    """Moves the running average of the weights towards them; early steps weigh more, so that the start is forgotten.

    Where `is_skipped`, bool () on their device, says so, it stays where it is.
    """
    decay = min(decay, (1 + n_steps) / (10 + n_steps))
    part = torch.where(is_skipped, 0.0, 1 - decay).float()
    for parameter, moved in zip(averaged.parameters(), model.parameters(), strict=True):
        parameter.lerp_(moved, part)
    for buffer, newest in zip(averaged.buffers(), model.buffers(), strict=True):
        buffer.copy_(newest)


def _loss(config: TrainConfig, logits: Tensor, goal: Tensor) -> Tensor:
    """The mean loss () over drawings, of logits (B, K) and a `MicroBatch.goal`, with teachers already smoothed."""
    if not len(goal):
        return logits.sum()
    return F.cross_entropy(logits, goal, label_smoothing=0.0 if config.teacher else config.label_smoothing)


class Losses:
    """The losses of an epoch, added to a state.

    To read a number waits until a GPU has done all that was asked of it, so there they are read now and then only. What
    follows a loss that is not finite is left out meanwhile: batch norm's statistics, the weights, the sum.

    Attributes:
        are_lost: bool (), on the device: whether one was not finite.
    """

    def __init__(
        self, state: State, device: torch.device, group: Group, folder: Path, save: Callable[[], None]
    ) -> None:
        """`save` writes the checkpoint of `state` in the run folder."""
        self._state, self._group, self._folder, self._save = state, group, folder, save
        self._at_once = _steps_at_once(device, group)
        self._zero = torch.zeros((), dtype=torch.float64, device=device)
        self.are_lost = self._zero > 0
        self._forget()

    def _forget(self) -> None:
        self._sum, self._n_lost, self._lost = (self._zero.clone() for _ in range(3))
        self._steps: list[int] = []

    @property
    def are_due(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self._steps) == self._at_once

    def add(self, own: Tensor, n: int) -> None:
        """The loss () of the step that the state is at, this process's part of it, a mean over `n` drawings."""
        if self._group.size > 1:
            own = self._zero + self._group.sum(own.item())
        self._lost = torch.where(self.are_lost, self._lost, own)
        self.are_lost = self.are_lost | ~own.isfinite()
        self._sum += torch.where(self.are_lost, 0.0, own * n)
        self._n_lost += self.are_lost
        self._steps.append(self._state.step)

    def settle(self) -> None:
        """Adds them to the state.

        Raises:
            TrainingError: one was not finite; the state is that before it.
        """
        if not self._steps:
            return
        self._state.loss_sum += self._sum.item()
        n_lost = int(self._n_lost.item())
        if n_lost:
            self._state.step = self._steps[-n_lost]
            what = f"the loss of epoch {self._state.epoch + 1}, step {self._state.step + 1} is {self._lost.item()}"
            raise diverged(what, self._folder, self._save)
        self._forget()


def _steps_at_once(device: torch.device, group: Group) -> int:
    """How many steps' losses are read together: one where that waits for nothing, or several processes add them up."""
    return 1 if device.type == "cpu" or group.size > 1 else _STEPS_AT_ONCE


def diverged(what: str, folder: Path, save: Callable[[], None]) -> TrainingError:
    """The error for a loss that is not finite; the state before it is saved, unless its weights are not finite."""
    with contextlib.suppress(TrainingError):
        save()
    return TrainingError(f"{what}; what was good before it is kept in {folder}; try a smaller --learning-rate")
