"""Batch norm over true rows, over all processes."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from quickstroke import kernels
from quickstroke.runtime.distributed import ALONE, Group


class RowBatchNorm(nn.BatchNorm1d):
    """Batch norm over the rows of (B, T, C), counting the rows of a mask (B, T) only, or all where it is None.

    Attributes:
        group: the processes over whose rows together the statistics of a batch are taken.
    """

    def __init__(self, n_channels: int, group: Group = ALONE) -> None:
        super().__init__(n_channels)
        self.group = group

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scale, shift = self.scale_and_shift(x, mask)
        return x * scale + shift  # (B, T, C)

    def scale_and_shift(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What rows are multiplied by, and then added (C,); in training mode those of x (B, T, C), which count."""
        mean, var = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        if self.training:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
            with torch.no_grad():  # the input is data: no gradient flows into the statistics
                if x.device.type != "cpu" and self.group.size == 1:
                    mean, var = self._without_waiting(x, mask)
                else:
                    n, of_batch = self._of_all(x, mask)
                    if n:  # a batch of dots has no true row and keeps the running statistics
                        var, mean = of_batch
                        self._update(mean, var * (n / max(n - 1, 1)), 1)
        scale = self.weight * torch.rsqrt(var + self.eps)  # (C,)
        return scale, self.bias - mean * scale

    def _without_waiting(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (C,) of the rows of a mask; how many those are, only the device knows.

        Where there is none they are the running statistics, which then stay.
        """
        before = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        weights = mask.unsqueeze(2).to(x.dtype)  # (B, T, 1)
        n = weights.sum()
        mean = (x * weights).sum((0, 1)) / n.clamp(min=1)
        var = ((x - mean).square() * weights).sum((0, 1)) / n.clamp(min=1)
        unbiased = var * (n / (n - 1).clamp(min=1))
        there = n > 0
        mean, var, unbiased = (
            torch.where(there, new, old) for new, old in zip((mean, var, unbiased), (*before, before[1]), strict=True)
        )
        self._update(mean, unbiased, there)
        return mean, var

    def _of_all(self, x: Tensor, mask: Tensor) -> tuple[int, tuple[Tensor, Tensor]]:
        """How many rows of x (B, T, C) count in all processes, and their biased variance and mean (C,); one may have
        none.
        """
        if x.device.type == "cpu":
            own = np.zeros((2, x.shape[2]))
            kernels.pool.add_moments(x.numpy(), mask.numpy(), own)
        else:
            rows = (x * mask.unsqueeze(2)).flatten(0, 1).double()  # (B * T, C)
            own = torch.stack([rows.sum(0), rows.square().sum(0)]).cpu().numpy()
        sums = self.group.sums([int(mask.sum()), *own.ravel().tolist()])
        n = int(sums[0])
        mean, square = np.array(sums[1:]).reshape(2, -1) / max(n, 1)
        var = np.maximum(square - mean * mean, 0)
        return n, (torch.from_numpy(var).to(x), torch.from_numpy(mean).to(x))

    def _update(self, mean: Tensor, unbiased: Tensor, n_batches: int | Tensor) -> None:
        cast(Tensor, self.running_mean).lerp_(mean, cast(float, self.momentum))
        cast(Tensor, self.running_var).lerp_(unbiased, cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(n_batches)
