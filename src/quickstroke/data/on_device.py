"""A prepared dataset in a GPU's memory: batches are gathered there, and only indices are copied during a training.

Coordinates stay bytes and pen states bits, 2.1 bytes a point; each batch is converted to float32 when it is gathered.
Nothing here waits for the device.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstroke.config.model import Preprocessing
from quickstroke.data.batches import Drawings, n_points_of
from quickstroke.data.points import n_rows
from quickstroke.runtime.device import to_device

# The part of a device's free memory that a dataset may take; the rest is for the model and its batches.
_LARGEST_PART = 0.5
# Rows that are copied at a time.
_BLOCK = 1 << 24


class DeviceData:
    """The drawings of a dataset on a device.

    Attributes:
        data: the dataset, on the CPU.
    """

    def __init__(self, data: Drawings, device: torch.device) -> None:
        self.data = data
        self._device = device
        self._points, self._pen_up = _copied(data.points, device), _copied(data.pen_up, device)
        self._offsets = torch.from_numpy(np.asarray(data.offsets).astype(np.int64)).to(device)

    def points_of(
        self, indices: NDArray[np.int64], max_padding: int, preprocessing: Preprocessing
    ) -> tuple[Tensor, Tensor]:
        """Points float32 (B, T, C) and rows int64 (B,) of drawings `indices` (B,), as `batches.points_of` gives them.

        Source of the columns: `points`.
        """
        n_points = n_points_of(self.data, indices)
        longest = int(n_points.max(initial=1))
        n_steps = int(n_rows(n_points, max_padding, preprocessing).max(initial=0))
        rows = to_device(indices, self._device)
        begin = self._offsets[rows]  # (B,)
        n = self._offsets[rows + 1] - begin  # (B,)
        step = torch.arange(longest, device=self._device)  # (N,)
        at = begin.unsqueeze(1) + torch.minimum(step, n.unsqueeze(1) - 1)  # (B, N); the last point again after the end
        xy = self._points[at].float()  # (B, N, 2)
        pen_up = ((self._pen_up[at >> 3] >> (at & 7)) & 1).float().unsqueeze(2)  # (B, N, 1)
        low, high = xy.amin(1, keepdim=True), xy.amax(1, keepdim=True)  # (B, 1, 2)
        sides = (high - low).clamp(min=1)  # (B, 1, 2)
        if preprocessing == "delta3":
            columns = [(xy[:, 1:] - xy[:, :-1]) / sides, pen_up[:, 1:]]
            lengths = (n - 1).clamp(max=max_padding)
        else:
            side = sides.amax(2, keepdim=True)  # (B, 1, 1)
            steps = torch.diff(xy, dim=1, prepend=xy[:, :1])
            columns = [steps / side, (2 * xy - low - high) / (2 * side), pen_up]
            lengths = n.clamp(max=max_padding)
        points = torch.cat(columns, 2)[:, :n_steps]  # (B, T, C)
        return points * (step[:n_steps] < lengths.unsqueeze(1)).unsqueeze(2), lengths


def on_device(data: Drawings, device: torch.device) -> DeviceData | None:
    """A dataset on a GPU; None if the device is no GPU, or if too little of its memory is free."""
    if device.type != "cuda":
        return None
    needed = data.points.nbytes + data.pen_up.nbytes + 8 * len(data.offsets)
    free, _ = torch.cuda.mem_get_info(device)
    return DeviceData(data, device) if needed < _LARGEST_PART * free else None


def _copied(array: NDArray[np.uint8], device: torch.device) -> Tensor:
    """An array, perhaps a memory map, copied in blocks: a dataset may be larger than the free memory of the host."""
    result = torch.empty(array.shape, dtype=torch.uint8, device=device)
    for begin in range(0, len(array), _BLOCK):
        result[begin : begin + _BLOCK] = torch.from_numpy(array[begin : begin + _BLOCK].copy()).to(device)
    return result
