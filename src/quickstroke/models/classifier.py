"""StrokeClassifier: batch norm, convolutions, LSTM and a linear readout over the points of a drawing.

Dimensions: B batch, T steps, C channels (3 or 5 at the input), F filters, H hidden units, D directions (1 or 2),
K classes, L layers, R columns that the output layer reads.

The keys of its state dict are the 2020 project's: `bn.*`, `conv1.*`, `conv2.*`, `lstm.weight_ih_l{k}[_reverse]`
and so on, `linear.*`. Parameters are its own too, but for those of readout `pool`
(`norm1.*`, `norm2.*`, `attention.*`, `image.*`); the way through them depends on `config.reading`:

    padded        the points are filled with zeros to `max_padding` steps, everything runs over all of them, and the
                  output at the last step is read; batch norm counts the zeros.
    length-aware  each direction is read at its own end of the drawing; batch norm counts true rows only, and
                  nothing depends on how far a batch is padded.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstroke import kernels
from quickstroke.config.model import ModelConfig
from quickstroke.config.schema import fits
from quickstroke.data import points
from quickstroke.drawings.categories import check_classes
from quickstroke.errors import ConfigError, WeightsError, expect, expect_items, expect_path, first_line, shown
from quickstroke.kernels import raster
from quickstroke.models.image_branch import ImageReader
from quickstroke.models.normalization import RowBatchNorm
from quickstroke.runtime.distributed import ALONE, Group


class StrokeClassifier(nn.Module):
    """Logits for the classes of `config`, from points as `data.points.to_points` gives them.

    Args:
        precision: float32 or bfloat16, of the matrix products where a length-aware model is trained on a CPU. Whatever
            else is done is float32; for evaluations see `evaluating`.
        group: the processes over whose batches together batch norm's statistics are taken.

    Attributes:
        classes: the words in the order of the logits, where `from_pretrained` made it; else empty.

    Raises:
        ArgumentTypeError: `config` is no ModelConfig.
        ConfigError: `dropout` is no number from 0 to 1.
    """

    def __init__(
        self, config: ModelConfig, dropout: float = 0.0, precision: torch.dtype = torch.float32, group: Group = ALONE
    ) -> None:
        super().__init__()
        expect(config, ModelConfig, "config", "a ModelConfig")
        if not fits(dropout, float) or not 0 <= dropout <= 1:
            raise ConfigError(f"dropout should be a number from 0 to 1, got {shown(dropout)}")
        self.config = config
        self.classes: tuple[str, ...] = ()
        self._precision, self._precision_without_gradient = precision, torch.float32
        pooled = config.readout == "pool"
        n_channels = points.n_channels(config.preprocessing)
        self.bn = RowBatchNorm(n_channels, group)
        self.conv1: nn.Conv1d | None = None
        self.conv2: nn.Conv1d | None = None
        for number, convolution in ((1, config.conv1), (2, config.conv2)):
            if convolution:
                n_filters, filter_size, stride = (*convolution, 1)[:3]
                setattr(self, f"conv{number}", nn.Conv1d(n_channels, n_filters, filter_size, stride))
                n_channels = n_filters
                if pooled:
                    setattr(self, f"norm{number}", nn.LayerNorm(n_filters))
        self.lstm = nn.LSTM(
            n_channels,
            config.hidden_size,
            config.n_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        width = (1 + config.bidirectional) * config.hidden_size
        if pooled:
            self.attention = nn.Linear(width, 1, bias=False)  # the softmax over steps would take it away
        n_read = 3 * width if pooled else width
        self.image = None
        if config.image:
            self.image = ImageReader(config.image)
            n_read += raster.n_features(config.image)
        self.linear = nn.Linear(n_read, config.n_classes)
        self.dropout = nn.Dropout(dropout)
        self.float()  # whatever type a program has PyTorch take by default

    @classmethod
    def from_pretrained(cls, model: Path | str | None = None) -> "StrokeClassifier":
        """The classifier of a model, on the CPU, in evaluation mode, its weights ready to be trained further.

        Args:
            model: a `.model`, `.safetensors` or `.quickstroke` file, a run folder, the name of a published model, or
                hf://OWNER/NAME of the Hugging Face Hub; by default the default model.

        Raises:
            WeightsError: the file is missing, damaged, unsafe, an `.onnx` one, or does not fit its card.
            DownloadError, ConfigError, MissingExtra, ArgumentTypeError: as `load`.
        """
        from quickstroke.artifacts import cards, loading  # upwards: users of PyTorch look for this here

        loaded = loading.load_model(cards.find_model(model))
        loaded.model.classes = loaded.classes
        return loaded.model

    def save_pretrained(
        self, folder: Path | str, classes: Sequence[str] | None = None, *, replace: bool = False
    ) -> Path:
        """Writes NAME.model, a plain state dict, and its card NAME.json, which `load` and all commands take.

        Args:
            folder: where to; it is made where it is not there.
            classes: the words in the order of the output layer, which may have been exchanged; by default `classes`.
            replace: whether an earlier model of this name gives way.

        Returns:
            The path of NAME.model.

        Raises:
            ConfigError: the output layer has not as many outputs as there are words, another layer was exchanged, or
                this is a subclass, whose own code no file has.
            CategoryError: words that cannot be used, or one twice.
            WeightsError: there is a model of this name, or a weight is not finite.
            ArgumentTypeError: `folder` is no path, or `classes` no list.
        """
        from quickstroke.artifacts import loading  # upwards, as above

        words = check_classes(expect_items(self.classes if classes is None else classes, "classes", "words"), "classes")
        if type(self) is not StrokeClassifier:
            raise ConfigError(
                f"{type(self).__name__} is a subclass of StrokeClassifier: the file would have its weights without its "
                "code; save its state_dict() instead"
            )
        if type(self.linear) is not nn.Linear or self.linear.bias is None:
            raise ConfigError(f"linear should be an nn.Linear with a bias, got {shown(self.linear)}")
        if len(words) != self.linear.out_features:
            n = self.linear.out_features
            raise ConfigError(f"classes: {len(words)} words were given, but the output layer has {n} outputs")
        path = expect_path(folder, "folder") / f"{self.config.name}.model"
        if path.exists() and not replace:
            raise WeightsError(f"{path}: exists already; give `replace` to replace it, or another folder")
        for name, value in self.state_dict().items():
            if not value.isfinite().all():
                raise WeightsError(f"{path}: {name!r} has numbers that are not finite")
        model = StrokeClassifier(dataclasses.replace(self.config, n_classes=len(words)))
        try:
            model.load_state_dict(self.state_dict())
            path.parent.mkdir(parents=True, exist_ok=True)
        except RuntimeError as error:
            raise ConfigError(f"the weights are not those of a {self.config.name}: {first_line(error)}") from error
        except OSError as error:
            raise WeightsError(f"{path.parent}: cannot be made: {error.strerror}") from error
        return loading.write_model(path.parent, loading.LoadedModel(model, words, None, path), {})

    @property
    def convolutions(self) -> list[tuple[nn.Conv1d, Any]]:
        """The convolutions that there are, each with the norm that follows it where the readout is `pool`."""
        both = ((self.conv1, "norm1"), (self.conv2, "norm2"))
        return [(convolution, getattr(self, norm, None)) for convolution, norm in both if convolution is not None]

    def forward(self, points: Tensor, lengths: Tensor, auxiliary: bool = False, plain: bool = False) -> Tensor:
        """Logits float32 (B, K).

        Args:
            points: float32 (B, T, C), zero after each drawing's end; T at most `max_padding` of a padded model.
            lengths: int64 (B,), true rows of each drawing; 0 for a dot by the preprocessing `delta3`.
            auxiliary: whether a model with an image also returns the logits of its auxiliary heads: (B, 3, K), its own
                logits, then those of the points and of the image, of which its own are the mean.
            plain: whether PyTorch's layers compute everything, also where compiled kernels could.

        Raises:
            ConfigError: another shape or dtype, or, where compiled code runs, a length below 0 or above T.
            ArgumentTypeError: no tensors.
        """
        self._check_given(points, lengths)
        if not len(points):  # a process without a share of a small batch keeps in step with the others
            self.bn(points)
            nothing = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0
            return points.new_zeros(0, self.config.n_classes) + nothing
        read = self.dropout(self.features(points, lengths, plain))  # (B, R)
        if auxiliary and self.image is not None:
            return self._auxiliary_logits(read)  # (B, 3, K)
        return cast(Tensor, self.linear(read))  # (B, K)

    def _check_given(self, points: Tensor, lengths: Tensor) -> None:
        """Raises ConfigError for what is no batch of this model's points, ArgumentTypeError for what is no tensor."""
        for name, given in (("points", points), ("lengths", lengths)):
            expect(given, Tensor, name, "a tensor")
        n, preprocessing = len(self.bn.weight), self.config.preprocessing
        if points.ndim != 3 or points.shape[2] != n:
            what = f"(B, T, {n}), as the preprocessing {preprocessing} gives them"
            raise ConfigError(f"points should be {what}, got {tuple(points.shape)}")
        if self.config.reading == "padded" and points.shape[1] > self.config.max_padding:
            most = f"{self.config.max_padding} rows, which a padded model reads"
            raise ConfigError(f"points should be at most {most}, got {points.shape[1]}")
        if points.dtype != self.bn.weight.dtype and not torch.is_autocast_enabled(points.device.type):
            raise ConfigError(f"points should be {self.bn.weight.dtype}, as the weights are, got {points.dtype}")
        if lengths.shape != points.shape[:1]:
            raise ConfigError(f"lengths should be ({len(points)},), one for each drawing, got {tuple(lengths.shape)}")
        if lengths.dtype not in (torch.int64, torch.int32, torch.int16):
            raise ConfigError(f"lengths should be int64, got {lengths.dtype}")

    def features(self, points: Tensor, lengths: Tensor, plain: bool = False) -> Tensor:
        """What the output layer reads, float32 (B, R), of drawings as `forward` takes them."""
        if self.config.reading == "padded":
            x = F.pad(points, (0, 0, 0, self.config.max_padding - points.shape[1]))  # (B, max_padding, 3)
            is_packed = self._kind == torch.bfloat16 and not self.config.bidirectional and not plain
            if is_packed and not torch.is_grad_enabled():
                ends = torch.full((len(x),), x.shape[1] - self.config.receptive_field + 1)
                return self._last_packed(x, ends, *self.bn.scale_and_shift(x))  # (B, H)
            return self._outputs(self._convolve(self.bn(x)))[:, -1]  # (B, D * H)

        is_packed = points.device.type == "cpu" and points.dtype == torch.float32 and not plain
        if is_packed:
            _check_lengths(lengths, points.shape[1])
        # A drawing shorter than the convolutions is extended with zeros to what one output step sees.
        if points.shape[1] < self.config.receptive_field:
            points = F.pad(points, (0, 0, 0, self.config.receptive_field - points.shape[1]))  # (B, T, C)
        mask = _mask(lengths, points.shape[1])  # (B, T)
        if self.config.readout == "pool":
            x = self.bn(points, mask)  # (B, T, C)
            pooled = self._pool_packed(x, lengths) if is_packed else self._pool(*self._pooled_steps(x, mask, lengths))
            if self.image is None:
                return pooled  # (B, 3 * D * H)
            seen = self.image(points, lengths, self._kind if is_packed else x.dtype, plain)
            return torch.cat([pooled, seen], 1)  # (B, R)
        ends = (lengths - self.config.receptive_field + 1).clamp(min=1)  # (B,) output steps of each drawing
        if is_packed:
            return self._last_packed(points, ends, *self.bn.scale_and_shift(points, mask))  # (B, D * H)
        x = self._outputs(self._convolve(self.bn(points, mask)), ends)  # (B, T', D * H)
        last = x[torch.arange(len(x), device=x.device), ends - 1]  # (B, D * H)
        if self.config.bidirectional:  # the backward half has read all at the first step
            n = self.config.hidden_size
            last = torch.cat([last[:, :n], x[:, 0, n:]], dim=1)  # (B, 2H)
        return last

    @contextmanager
    def evaluating(self, precision: torch.dtype = torch.float32, batch_statistics: bool = False) -> Iterator[None]:
        """The context of an evaluation; the model is as before afterwards, statistics included.

        Args:
            precision: of the matrix products on a CPU of a length-aware model or a one-directional padded one.
            batch_statistics: whether batch norm takes the statistics of each batch, as protocol `2020` has it.
        """
        was_training, statistics = self.training, [buffer.clone() for buffer in self.bn.buffers()]
        before, group = self._precision_without_gradient, self.bn.group
        self._precision_without_gradient, self.bn.group = precision, ALONE
        self.eval()
        self.bn.train(batch_statistics)
        try:
            yield
        finally:
            for buffer, saved in zip(self.bn.buffers(), statistics, strict=True):
                buffer.copy_(saved)
            self._precision_without_gradient, self.bn.group = before, group
            self.train(was_training)

    def frozen(self, precision: torch.dtype) -> Self:
        """This model without gradients and in evaluation mode, its matrix products as in `evaluating`."""
        self._precision_without_gradient = precision
        return self.requires_grad_(False).eval()

    def initialize_orthogonally(self) -> None:
        """Begins the LSTM with orthogonal recurrent matrices and open forget gates.

        Source: Jozefowicz et al., An Empirical Exploration of Recurrent Network Architectures (2015), on the bias of 1.
        """
        n = self.config.hidden_size
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters():
                if name.startswith("weight_hh"):
                    for gate in parameter.chunk(4):
                        nn.init.orthogonal_(gate)
                elif name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(parameter)
                else:
                    parameter.zero_()
                    if name.startswith("bias_ih"):
                        parameter[n : 2 * n] = 1.0  # the gates are i, f, g, o

    def adjust_logits(self, factor: float, shift: Tensor) -> None:
        """Multiplies all logits by a number and adds `shift` (K,), in the output layer: the weights carry it."""
        with torch.no_grad():
            self.linear.weight.mul_(factor)
            self.linear.bias.mul_(factor).add_(shift)

    def _auxiliary_logits(self, read: Tensor) -> Tensor:
        """Logits (B, 3, K) of what was read (B, R): of all, of the points' columns alone, of the image's."""
        n_seen = raster.n_features(cast(int, self.config.image))
        weight, sizes = self.linear.weight, [read.shape[1] - n_seen, n_seen]
        pairs = zip(torch.split(read, sizes, 1), torch.split(weight, sizes, 1), strict=True)
        points, image = (F.linear(2 * own, part, self.linear.bias) for own, part in pairs)  # (B, K) each
        return torch.stack([(points + image) / 2, points, image], 1)

    def _convolve(self, x: Tensor) -> Tensor:
        for convolution, _ in self.convolutions:
            x = convolution(x.mT).mT  # (B, T', F)
        return x

    def _convolve_normalized(self, x: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Convolutions over x (B, T, C), each output step in the middle of what it sees, normalised and activated.

        Returns:
            (B, T', F), zero beyond each drawing's end, and its steps (B,).
        """
        for convolution, norm in self.convolutions:
            size, stride = convolution.kernel_size[0], convolution.stride[0]
            weight, bias = convolution.weight.to(x.dtype), cast(Tensor, convolution.bias).to(x.dtype)
            n_steps = -(-x.shape[1] // stride)
            x = F.conv1d(x.mT, weight, bias, stride, size // 2).mT[:, :n_steps]  # (B, T', F)
            x = F.relu(norm(x))  # (B, T', F)
            ends = (ends + stride - 1) // stride
            x = x * _mask(ends, n_steps).unsqueeze(2)  # (B, T', F)
        return x, ends

    def _pool(self, x: Tensor, ends: Tensor) -> Tensor:
        """Mean, maximum and attention (B, 3 * D * H) over the true steps `ends` (B,) of x (B, T, D * H)."""
        mask = _mask(ends, x.shape[1])  # (B, T)
        scores = self.attention(x).squeeze(2)  # (B, T)
        attention = scores.masked_fill(~mask, -torch.inf).softmax(1)  # (B, T)
        weights = torch.stack([mask.to(x.dtype) / ends.unsqueeze(1), attention], dim=1)  # (B, 2, T)
        mean, attended = torch.bmm(weights, x).unbind(1)  # (B, D * H) each
        highest = x.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(1)  # (B, D * H)
        return torch.cat([mean, highest, attended], dim=1)  # (B, 3 * D * H)

    def _outputs(self, x: Tensor, ends: Tensor | None = None) -> Tensor:
        """The last layer's outputs (B, T, D * H) for x (B, T, F) of which `ends` (B,) steps are true, None for all."""
        drops = self.training and self.dropout.p > 0 and self.config.n_layers > 1
        if not drops and (ends is None or not self.config.bidirectional):
            x, _ = self.lstm(x)  # (B, T, D * H)
            return x
        # nn.LSTM would begin its backward half in the padding; a packed sequence avoids that but misses the fast
        # CPU path, so each drawing is reversed within its own length instead. Reversing twice gives it back.
        ends = torch.full((len(x),), x.shape[1], device=x.device) if ends is None else ends
        rows = torch.arange(len(x), device=x.device).unsqueeze(1)  # (B, 1)
        steps = torch.arange(x.shape[1], device=x.device)  # (T,)
        mirrored = ends.unsqueeze(1) - 1 - steps  # (B, T)
        reverse = torch.where(mirrored < 0, steps, mirrored)  # (B, T)
        for layer in range(self.config.n_layers):
            outputs = [self._direction(x, layer, "")]  # (B, T, H)
            if self.config.bidirectional:
                backward = self._direction(x[rows, reverse], layer, "_reverse")  # (B, T, H), reversed
                outputs.append(backward[rows, reverse])  # (B, T, H)
            x = torch.cat(outputs, dim=2)  # (B, T, D * H)
            if drops and layer < self.config.n_layers - 1:
                # A drawing keeps or loses a unit in all its steps at once.
                x = x * self.dropout(x.new_ones(len(x), 1, x.shape[2]))  # (B, T, D * H)
        return x

    @property
    def _kind(self) -> torch.dtype:
        """Of the products: what a length-aware model evaluates does not depend on what it was trained in."""
        return self._precision if torch.is_grad_enabled() else self._precision_without_gradient

    def _last_packed(self, x: Tensor, ends: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Each direction's output (B, D * H) at its own end of x (B, T, C), of which `ends` (B,) steps are convolved.

        As from batch norm (`scale` and `shift` (C,)), `_convolve` and `_outputs`, but over true steps only. What a
        step of the convolutions sees goes into the LSTM as it is: all that comes before what the first layer does with
        its inputs is linear, as that is.
        """
        packing = kernels.lstm.pack(ends, x.shape[1], kernels.lstm.n_parts(len(x), self.config.hidden_size))
        x = kernels.pool.windows(x.flatten(0, 1), packing.index, self.config.receptive_field, self._kind)  # (S, W * C)
        return torch.cat(self._run_packed(x, packing, (scale, shift), is_last=True), 1).float()  # (B, D * H)

    def _merged(self, weight_ih: Tensor, bias_ih: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (4H, W * C) and bias (4H,) that do with windows what these do with what comes of them before."""
        if self.conv1 is not None:
            kernel, bias = self.conv1.weight, cast(Tensor, self.conv1.bias)  # (F, C, W), (F,)
            if self.conv2 is not None:
                bias = torch.addmv(cast(Tensor, self.conv2.bias), self.conv2.weight.sum(2), bias)
                kernel = F.conv_transpose1d(self.conv2.weight, kernel)  # (F, C, W)
            weight_ih, bias_ih = weight_ih @ kernel.mT.flatten(1), torch.addmv(bias_ih, weight_ih, bias)
        times = weight_ih.shape[1] // len(scale)
        if times > 1:
            scale, shift = scale.repeat(times), shift.repeat(times)
        return weight_ih * scale, torch.addmv(bias_ih, weight_ih, shift)

    def _pooled_steps(self, x: Tensor, mask: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What readout `pool` pools of points (B, T, C): outputs (B, T', D * H), and how many of each are true (B,)."""
        x, ends = self._convolve_normalized(x * mask.unsqueeze(2), lengths.clamp(min=1))  # (B, T', F), (B,)
        return self._outputs(x, ends), ends

    def _pool_packed(self, x: Tensor, lengths: Tensor) -> Tensor:
        """As `_pool` of `_pooled_steps`, over true steps only."""
        n_threads, n_steps = kernels.threads.n_threads(), x.shape[1]
        ends = lengths.clamp(min=1)  # (B,)
        x = x * _mask(lengths, n_steps).unsqueeze(2)  # for a drawing without a row
        x = x.flatten(0, 1)[_mask(ends, n_steps).flatten()].to(self._kind)  # (R, C)
        starts = np.concatenate([[0], np.cumsum(ends.numpy())])
        for convolution, norm in self.convolutions:
            x, starts = kernels.conv.convolve(x, starts, convolution, norm, n_threads)  # (S, F)
        ends = torch.from_numpy(np.diff(starts))
        n_parts = kernels.lstm.n_parts(len(ends), self.config.hidden_size)
        packing = kernels.lstm.pack(ends, int(ends.max()), n_parts)
        first = torch.from_numpy(starts[:-1]) - torch.arange(len(ends)) * int(ends.max())  # (B,)
        x = kernels.pool.permute(x, packing.index + first.index_select(0, packing.drawing))  # (S, F)
        forward, backward = self._run_packed(x, packing)  # (S, H) each
        packed = torch.cat([forward, kernels.pool.swap(backward, packing)], 1)  # (S, 2H)
        return kernels.pool.pool(packed, self.attention.weight[0], packing)  # (B, 6H)

    def _run_packed(
        self,
        x: Tensor,
        packing: "kernels.lstm.Packing",
        affine: tuple[Tensor, Tensor] | None = None,
        is_last: bool = False,
    ) -> list[Tensor]:
        """The last layer's packed outputs (S, H) of each direction, the backward one's in its own order; where
        `is_last`, those of each drawing's last step in it (B, H).

        x is (S, F), or windows (S, W * C) before batch norm, whose scale and shift are `affine`.
        """
        for layer in range(self.config.n_layers):
            is_end = layer == self.config.n_layers - 1
            outputs = [kernels.lstm.lstm(x, self._weights(layer, "", affine), packing, is_last and is_end)]  # (S, H)
            if self.config.bidirectional:
                weights, x = self._weights(layer, "_reverse", affine), kernels.pool.swap(x, packing)
                outputs.append(kernels.lstm.lstm(x, weights, packing, is_last and is_end))  # (S, H), reversed
            if not is_end:
                x = outputs[0]  # (S, D * H)
                if self.config.bidirectional:
                    x = torch.cat([x, kernels.pool.swap(outputs[1], packing)], 1)
                x = self._drop_units(x, packing)
        return outputs

    def _drop_units(self, x: Tensor, packing: "kernels.lstm.Packing") -> Tensor:
        """Dropout of packed x (S, D * H) between layers, as in `_outputs`."""
        if not (self.training and self.dropout.p):
            return x
        kept = self.dropout(x.new_ones(len(packing.last), x.shape[1], dtype=torch.float32)).to(x.dtype)  # (B, D * H)
        result: Tensor = x * kept.index_select(0, packing.drawing)  # (S, D * H)
        return result

    def _weights(
        self, layer: int, suffix: str, affine: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of one direction of a layer; with `affine`, those of the first layer for what `_run_packed` is given."""
        keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_ih, weight_hh, bias_ih, bias_hh = (getattr(self.lstm, f"{key}_l{layer}{suffix}") for key in keys)
        if layer == 0 and affine:
            weight_ih, bias_ih = self._merged(weight_ih, bias_ih, *affine)
        return weight_ih, weight_hh, bias_ih, bias_hh

    def _direction(self, x: Tensor, layer: int, suffix: str) -> Tensor:
        zeros = x.new_zeros(1, len(x), self.config.hidden_size)
        # As nn.LSTM calls it: input, state, weights; has biases, layers, dropout, training, two-way, batch first.
        output, _, _ = torch.lstm(
            x, (zeros, zeros), self._weights(layer, suffix), True, 1, 0.0, self.training, False, True
        )
        return output  # (B, T, H)


def _mask(lengths: Tensor, n_steps: int) -> Tensor:
    """Which of `n_steps` steps are within `lengths` (B,): bool (B, T)."""
    return torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)


def _check_lengths(lengths: Tensor, n_rows: int) -> None:
    """Raises ConfigError for a length that points of so many rows do not have: compiled code would read beyond them."""
    for at in ((lengths < 0) | (lengths > n_rows)).nonzero().flatten().tolist():
        got = f"{int(lengths[at])} for drawing {at}, counted from 0"
        raise ConfigError(f"lengths should be from 0 to {n_rows}, the rows of points, got {got}")


def threads_for(model: StrokeClassifier) -> AbstractContextManager[None]:
    """The context in which a model is trained or evaluated: see `kernels.threads.undisturbed`."""
    is_packed = model.config.reading == "length-aware" and next(model.parameters()).device.type == "cpu"
    return kernels.threads.undisturbed() if is_packed else nullcontext()


def n_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters())
