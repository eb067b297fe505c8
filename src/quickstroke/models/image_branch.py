"""The convolutions that look at the image of a drawing.

Dimensions: B batch, T steps, F filters, H height and W width of an image.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickstroke import kernels
from quickstroke.kernels import raster
from quickstroke.runtime.precision import multiplies_bfloat16

if TYPE_CHECKING:
    from quickstroke.models.single_image import SingleImageReader


def drawn(points: Tensor, lengths: Tensor, plain: bool = False) -> Tensor:
    """Images (B, 2, raster.SIDE, raster.SIDE) of the points (B, T, 5), of the same dtype and on the same device.

    On a CPU float32 ones are drawn by `raster.draw`; elsewhere, and where `plain`, PyTorch does the same for all pixels
    and points at once.
    """
    if points.device.type == "cpu" and points.dtype == torch.float32 and not plain:
        images = torch.zeros(len(points), raster.N_CHANNELS, raster.SIDE, raster.SIDE, dtype=torch.float32)
        raster.draw(points.numpy(), lengths.numpy(), images.numpy())
        return images
    n = raster.at_a_time(points.shape[1])
    if len(points) <= n:  # converters know no split into one part
        return _drawn(points, lengths)
    shares = zip(torch.split(points, n), torch.split(lengths, n), strict=True)
    return torch.cat([_drawn(*share) for share in shares])


def _drawn(points: Tensor, lengths: Tensor) -> Tensor:
    """As `drawn`, by PyTorch's operators, all at once."""
    to = points[:, :, 2:4] * raster.LENGTH + raster.MIDDLE  # (B, T, 2)
    is_new = F.pad(points[:, :-1, 4:] > raster.PEN_UP, (0, 0, 1, 0), value=True)  # (B, T, 1)
    begin = torch.where(is_new, to, F.pad(to[:, :-1], (0, 0, 1, 0)))  # (B, T, 2)
    dx, dy = (to - begin).unsqueeze(3).unbind(2)  # (B, T, 1) each
    pixels = torch.arange(raster.SIDE, dtype=points.dtype, device=points.device)
    to_x, to_y = (pixels - begin.unsqueeze(3)).unbind(2)  # (B, T, W), (B, T, H)
    square = (dx * dx + dy * dy).clamp(min=raster.TINY).unsqueeze(3)  # (B, T, 1, 1)
    along = (to_x * dx).unsqueeze(2) + (to_y * dy).unsqueeze(3)  # (B, T, H, W)
    part = (along / square).clamp(0, 1)
    off_x = to_x.unsqueeze(2) - part * dx.unsqueeze(3)
    off_y = to_y.unsqueeze(3) - part * dy.unsqueeze(3)
    ink = (raster.REACH - (off_x * off_x + off_y * off_y).sqrt()).clamp(0, 1)  # (B, T, H, W)
    steps = torch.arange(points.shape[1], device=points.device)
    there = steps < lengths.unsqueeze(1)  # (B, T)
    late = (there * (steps + 1)).to(points.dtype) / lengths.clamp(min=1).unsqueeze(1)  # (B, T)
    both = [(ink * factor[:, :, None, None].to(ink)).amax(1) for factor in (there, late)]
    return torch.stack(both, 1)  # (B, 2, H, W)


class ImageReader(nn.Module):
    """Features (B, `raster.n_features`) of the images of drawings: the mean and the maximum over what is left of them.

    Each convolution is followed by a maximum over two by two pixels where it halves the image, by a norm over all
    that is left of an image, so that no drawing depends on those beside it, and by ReLU.

    Args:
        n_filters: of the first convolution.
    """

    def __init__(self, n_filters: int) -> None:
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        n_before = raster.N_CHANNELS
        for multiple, size, _ in raster.LAYERS:
            n_after = multiple * n_filters
            self.convs.append(nn.Conv2d(n_before, n_after, size, padding=size // 2))
            self.norms.append(nn.GroupNorm(1, n_after, raster.EPSILON))
            n_before = n_after
        self._single: tuple[list[Tensor], SingleImageReader] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_single": None}  # a copy lays its weights out anew

    def forward(self, points: Tensor, lengths: Tensor, kind: torch.dtype, plain: bool = False) -> Tensor:
        """Features, in the dtype of the points (B, T, 5), of which `lengths` int64 (B,) are true. `plain` as `drawn`.

        Products and images between are of dtype `kind`, but without gradients on a CPU that has no instructions for
        bfloat16: compiled code, in float32, takes less time there.
        """
        is_on_cpu = points.device.type == "cpu" and points.dtype == torch.float32 and not plain
        weights = [weight for part in (self.convs, self.norms) for weight in part.parameters()]
        if not is_on_cpu:
            return _read(_layers(drawn(points, lengths, plain), kind, weights), points.dtype)
        points = points.contiguous()  # a batch may be a part of another; code would be compiled once more for that
        if not torch.is_grad_enabled() and not (kind == torch.bfloat16 and multiplies_bfloat16()):
            return torch.from_numpy(self._by_compiled_code(points.numpy(), lengths.numpy(), weights))
        n_threads = min(kernels.threads.n_threads(), max(len(points), 1))
        keeps = torch.is_grad_enabled()  # in `forward` of a function it never is
        seen = _Shared.apply(points, lengths, kind, n_threads, keeps, *weights)  # type: ignore[no-untyped-call]
        return _read(seen, points.dtype)

    def _by_compiled_code(
        self, points: NDArray[np.float32], lengths: NDArray[np.int64], weights: Sequence[Tensor]
    ) -> NDArray[np.float32]:
        """Features, in less time than PyTorch's convolutions take for a batch."""
        from quickstroke.models.single_image import SingleImageReader

        if self._single is None or not all(map(torch.equal, self._single[0], weights)):
            self._single = [weight.clone() for weight in weights], SingleImageReader(self)
        n_threads = max(min(kernels.threads.n_threads(), len(points)), 1)
        parts = zip(np.array_split(points, n_threads), np.array_split(lengths, n_threads), strict=True)
        return np.concatenate(kernels.threads.in_threads(self._single[1].features, list(parts)))


def _read(images: Tensor, kind: torch.dtype) -> Tensor:
    """The mean and the maximum (B, 2 * F) of each filter's image (B, F, H, W)."""
    images = images.flatten(2).to(kind)
    return torch.cat([images.mean(2), images.amax(2)], 1)


def _of_layers(weights: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Kernel, bias, scale and shift of each layer; `weights` are all kernels and biases, then scales and shifts."""
    n = 2 * len(raster.LAYERS)
    return list(zip(weights[:n:2], weights[1:n:2], weights[n::2], weights[n + 1 :: 2], strict=True))


def _layers(images: Tensor, kind: torch.dtype, weights: Sequence[Tensor]) -> Tensor:
    """What the last layer makes of images, (B, F, H, W) of type `kind`."""
    x = images.to(kind).contiguous(memory_format=torch.channels_last)
    for (kernel, bias, scale, shift), (_, _, is_halved) in zip(_of_layers(weights), raster.LAYERS, strict=True):
        kernel = kernel.to(kind).contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, kernel, bias.to(kind), padding="same")
        if is_halved:
            x = F.max_pool2d(x, 2)
        x = F.relu(F.group_norm(x, 1, scale.to(kind), shift.to(kind), raster.EPSILON))  # (B, F, H, W)
    return x


class _Shared(torch.autograd.Function):
    """`_layers` of the images of points, forward and backward, the drawings shared out among threads."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, lengths: Tensor, kind: torch.dtype, n_threads: int, keeps: bool, *weights: Tensor
    ) -> Tensor:
        layers = [
            (kernel.to(kind).contiguous(memory_format=torch.channels_last), bias.to(kind), scale.numpy(), shift.numpy())
            for kernel, bias, scale, shift in _of_layers(weights)
        ]

        def run(points: Tensor, lengths: Tensor) -> tuple[Tensor, list[tuple[Tensor, "kernels.image_norm.Kept"]]]:
            x, kept = drawn(points, lengths).to(kind).contiguous(memory_format=torch.channels_last), []
            for (kernel, bias, scale, shift), (_, size, is_halved) in zip(layers, raster.LAYERS, strict=True):
                made = F.conv2d(x, kernel, bias, padding=size // 2)
                before, (x, own) = x, kernels.image_norm.forward(made, is_halved, scale, shift, raster.EPSILON)
                if keeps:
                    kept.append((before, own))
            return x, kept

        parts = list(zip(points.chunk(n_threads), lengths.chunk(n_threads), strict=True))
        found = kernels.threads.in_threads(run, parts)
        ctx.kept = layers, [kept for _, kept in found], [len(x) for x, _ in found]
        return torch.cat([x for x, _ in found])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layers, of_parts, n_drawings = ctx.kept

        def run(kept: list[tuple[Tensor, "kernels.image_norm.Kept"]], dx: Tensor) -> list[Tensor]:
            own: list[list[Tensor]] = []  # of each layer, the last one first
            for i in reversed(range(len(layers))):
                (kernel, _, scale, shift), (x, made), padding = layers[i], kept[i], 2 * [raster.LAYERS[i][1] // 2]
                dx, dscale, dshift = kernels.image_norm.backward(made, dx, scale, shift)
                needed = [i > 0, True, True]
                dx, dkernel, dbias = torch.ops.aten.convolution_backward(
                    dx, x, kernel, [len(kernel)], [1, 1], padding, [1, 1], False, [0, 0], 1, needed
                )
                own.insert(0, [dkernel.to(torch.float32), dbias.to(torch.float32), dscale, dshift])
            return [gradient for part in (slice(0, 2), slice(2, 4)) for layer in own for gradient in layer[part]]

        parts = list(zip(of_parts, torch.split(gradients[0], n_drawings), strict=True))
        own = kernels.threads.in_threads(run, parts)
        return None, None, None, None, None, *(torch.stack(each).sum(0) for each in zip(*own, strict=True))
