"""The convolutions that look at the image of a drawing.

Dimensions: B batch, T steps, F filters, H height and W width of an image.
"""

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstroke import images, threads

_EPSILON = 1e-5
# Images at a time where PyTorch draws them: each takes as many pixels as it has points.
_AT_A_TIME = 64


def drawn(points: Tensor, lengths: Tensor) -> Tensor:
    """Images (B, 2, images.SIDE, images.SIDE) of the points (B, T, 5), of the same dtype and on the same device.

    On a CPU float32 ones are drawn by `images.draw`; elsewhere PyTorch does the same for all pixels and points at once.
    """
    if points.device.type == "cpu" and points.dtype == torch.float32:
        out = np.zeros((len(points), images.N_CHANNELS, images.SIDE, images.SIDE), np.float32)
        images.draw(points.numpy(), lengths.numpy(), out)
        return torch.from_numpy(out)
    shares = zip(torch.split(points, _AT_A_TIME), torch.split(lengths, _AT_A_TIME), strict=True)
    return torch.cat([_drawn(*share) for share in shares])


def _drawn(points: Tensor, lengths: Tensor) -> Tensor:
    to = points[:, :, 2:4] * images.LENGTH + images.MIDDLE  # (B, T, 2)
    is_new = F.pad(points[:, :-1, 4:] > 0.5, (0, 0, 1, 0), value=True)  # (B, T, 1)
    begin = torch.where(is_new, to, F.pad(to[:, :-1], (0, 0, 1, 0)))  # (B, T, 2)
    dx, dy = (to - begin).unsqueeze(3).unbind(2)  # (B, T, 1) each
    pixels = torch.arange(images.SIDE, dtype=points.dtype, device=points.device)
    to_x, to_y = (pixels - begin.unsqueeze(3)).unbind(2)  # (B, T, W), (B, T, H)
    square = (dx * dx + dy * dy).clamp(min=images.TINY).unsqueeze(3)  # (B, T, 1, 1)
    along = (to_x * dx).unsqueeze(2) + (to_y * dy).unsqueeze(3)  # (B, T, H, W)
    part = (along / square).clamp(0, 1)
    off_x = to_x.unsqueeze(2) - part * dx.unsqueeze(3)
    off_y = to_y.unsqueeze(3) - part * dy.unsqueeze(3)
    ink = (images.REACH - (off_x * off_x + off_y * off_y).sqrt()).clamp(0, 1)  # (B, T, H, W)
    steps = torch.arange(points.shape[1], device=points.device)
    there = steps < lengths.unsqueeze(1)  # (B, T)
    late = there * (steps + 1) / lengths.clamp(min=1).unsqueeze(1)  # (B, T)
    both = [(ink * factor[:, :, None, None].to(ink)).amax(1) for factor in (there, late)]
    return torch.stack(both, 1)  # (B, 2, H, W)


class ImageReader(nn.Module):
    """Features (B, `images.n_features`) of the images of drawings: the mean and the maximum over what is left of them.

    Each convolution is followed by a maximum over two by two pixels where it halves the image, by a norm over all
    that is left of an image, so that no drawing depends on those beside it, and by ReLU.

    Args:
        n_filters: of the first convolution.
    """

    def __init__(self, n_filters: int) -> None:
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        n_before = images.N_CHANNELS
        for multiple, size, _ in images.LAYERS:
            n_after = multiple * n_filters
            self.convs.append(nn.Conv2d(n_before, n_after, size, padding=size // 2))
            self.norms.append(nn.GroupNorm(1, n_after, _EPSILON))
            n_before = n_after

    def forward(self, points: Tensor, lengths: Tensor, kind: torch.dtype) -> Tensor:
        """Features, in the dtype of the points (B, T, 5); products and images between are of dtype `kind`."""
        x = drawn(points, lengths).to(kind).contiguous(memory_format=torch.channels_last)  # (B, 2, H, W)
        n_threads = threads.n_threads() if x.device.type == "cpu" else 1
        for conv, norm, (_, _, is_halved) in zip(self.convs, self.norms, images.LAYERS, strict=True):
            weight, bias = cast(Tensor, conv.weight).to(kind), cast(Tensor, conv.bias).to(kind)
            if n_threads > 1:
                x = cast(Tensor, _Convolution.apply(x, weight, bias, n_threads))  # type: ignore[no-untyped-call]
            else:
                x = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last), bias, padding="same")
            if is_halved:
                x = F.max_pool2d(x, 2)
            scale, shift = cast(Tensor, norm.weight).to(kind), cast(Tensor, norm.bias).to(kind)
            x = F.relu(F.group_norm(x, 1, scale, shift, _EPSILON))  # (B, F, H, W)
        x = x.flatten(2).to(points.dtype)
        return torch.cat([x.mean(2), x.amax(2)], 1)


class _Convolution(torch.autograd.Function):
    """A convolution with as much padding as keeps the size, its images shared out among threads."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, n_threads: int) -> Tensor:
        weight = weight.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.n_threads = n_threads
        padding = weight.shape[2] // 2

        def run(part: Tensor) -> Tensor:
            return F.conv2d(part, weight, bias, padding=padding)

        return _joined(threads.in_threads(run, [(part,) for part in _parts(x, n_threads)]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        size = weight.shape[2]
        needed = [ctx.needs_input_grad[0], True, True]

        def run(gradient: Tensor, part: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
            none, one, half = [0, 0], [1, 1], [size // 2] * 2
            result: tuple[Tensor | None, Tensor, Tensor] = torch.ops.aten.convolution_backward(
                gradient, part, weight, [len(weight)], one, half, one, False, none, 1, needed
            )
            return result

        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        pairs = zip(_parts(gradient, ctx.n_threads), _parts(x, ctx.n_threads), strict=True)
        of_x, of_weight, of_bias = zip(*threads.in_threads(run, list(pairs)), strict=True)
        before = _joined(of_x) if needed[0] else None
        return before, torch.stack(of_weight).sum(0), torch.stack(of_bias).sum(0), None


def _parts(x: Tensor, n: int) -> tuple[Tensor, ...]:
    return x.chunk(n) if len(x) > n else (x,)


def _joined(parts: Any) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else cast(Tensor, parts[0])
