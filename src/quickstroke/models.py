"""StrokeClassifier: batch norm, convolutions, LSTM and a linear readout over the points of a drawing.

Dimensions: B batch, T steps, C channels (3 at the input), F filters, H hidden units, D directions (1 or 2),
K classes, L layers.

The keys of its state dict are the 2020 project's: `bn.*`, `conv1.*`, `conv2.*`, `lstm.weight_ih_l{k}[_reverse]`
and so on, `linear.*`. Parameters are its own too; only the way through them depends on `config.reading`:

    padded        the points are filled with zeros to `max_padding` steps, everything runs over all of them, and the
                  output at the last step is read; batch norm counts the zeros.
    length-aware  each direction is read at its own end of the drawing; batch norm counts true rows only, and
                  nothing depends on how far a batch is padded.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstroke import packed_lstm
from quickstroke.config import ModelConfig
from quickstroke.points import N_CHANNELS


class RowBatchNorm(nn.BatchNorm1d):
    """Batch norm over the rows of (B, T, C), counting the rows of a mask (B, T) only, or all where it is None."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        mean, var = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        if self.training:
            with torch.no_grad():  # the input is data: no gradient flows into the statistics
                counted = x.flatten(0, 1) if mask is None else x[mask]  # (rows, C)
                if len(counted):  # a batch of dots has no true row and keeps the running statistics
                    var, mean = torch.var_mean(counted, dim=0, correction=0)  # (C,)
                    self._update(mean, var, len(counted))
        scale = self.weight * torch.rsqrt(var + self.eps)  # (C,)
        return x * scale + (self.bias - mean * scale)  # (B, T, C)

    def _update(self, mean: Tensor, var: Tensor, n: int) -> None:
        unbiased = var * (n / max(n - 1, 1))
        cast(Tensor, self.running_mean).lerp_(mean, cast(float, self.momentum))
        cast(Tensor, self.running_var).lerp_(unbiased, cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(1)


class StrokeClassifier(nn.Module):
    """Logits for the classes of `config`, from points as `points.to_points` gives them.

    Attributes:
        precision: float32 or bfloat16, of the LSTM's matrix products where a length-aware model on a CPU is run for
            its gradients. Without gradients all is float32.
    """

    precision = torch.float32

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.bn = RowBatchNorm(N_CHANNELS)
        n_channels = N_CHANNELS
        self.conv1 = self.conv2 = None
        if config.conv1:
            self.conv1 = nn.Conv1d(n_channels, *config.conv1)
            n_channels = config.conv1[0]
        if config.conv2:
            self.conv2 = nn.Conv1d(n_channels, *config.conv2)
            n_channels = config.conv2[0]
        self.lstm = nn.LSTM(
            n_channels,
            config.hidden_size,
            config.n_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        self.linear = nn.Linear((1 + config.bidirectional) * config.hidden_size, config.n_classes)

    def forward(self, points: Tensor, lengths: Tensor) -> Tensor:
        """Logits float32 (B, K).

        Args:
            points: float32 (B, T, 3), zero after each drawing's end; T at most `max_padding`.
            lengths: int64 (B,), true rows of each drawing; 0 for a dot.
        """
        if self.config.reading == "padded":
            x = F.pad(points, (0, 0, 0, self.config.max_padding - points.shape[1]))  # (B, max_padding, 3)
            x = self._convolve(self.bn(x))  # (B, T', F)
            x, _ = self.lstm(x)  # (B, T', D * H)
            return cast(Tensor, self.linear(x[:, -1]))  # (B, K)

        # A drawing shorter than the convolutions is extended with zeros to what one output step sees.
        points = F.pad(points, (0, 0, 0, max(self.config.receptive_field - points.shape[1], 0)))  # (B, T, 3)
        steps = torch.arange(points.shape[1], device=points.device)  # (T,)
        x = self._convolve(self.bn(points, steps < lengths.unsqueeze(1)))  # (B, T', F)
        ends = (lengths - self.config.receptive_field + 1).clamp(min=1)  # (B,) steps of each drawing in x
        is_packed = torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == torch.float32
        read = self._read_packed if is_packed else self._read_ends
        return cast(Tensor, self.linear(read(x, ends)))  # (B, K)

    def _convolve(self, x: Tensor) -> Tensor:
        if self.conv1 is None:
            return x
        x = self.conv1(x.mT)  # (B, F, T')
        if self.conv2 is not None:
            x = self.conv2(x)  # (B, F, T')
        return x.mT  # (B, T', F)

    def _read_ends(self, x: Tensor, ends: Tensor) -> Tensor:
        """The LSTM's output (B, D * H) at each direction's own end, of x (B, T, F) with `ends` (B,) true steps."""
        rows = torch.arange(len(x), device=x.device)  # (B,)
        if not self.config.bidirectional:
            x, _ = self.lstm(x)  # (B, T, H)
            return x[rows, ends - 1]  # (B, H)
        # nn.LSTM would begin its backward half in the padding; a packed sequence avoids that but misses the fast
        # CPU path, so each drawing is reversed within its own length instead. Reversing twice gives it back.
        steps = torch.arange(x.shape[1], device=x.device)  # (T,)
        mirrored = ends.unsqueeze(1) - 1 - steps  # (B, T)
        reverse = torch.where(mirrored < 0, steps, mirrored), rows.unsqueeze(1)  # (B, T), (B, 1)
        for layer in range(self.config.n_layers):
            forward = self._direction(x, layer, "")  # (B, T, H)
            backward = self._direction(x[reverse[1], reverse[0]], layer, "_reverse")  # (B, T, H), reversed
            if layer < self.config.n_layers - 1:
                x = torch.cat([forward, backward[reverse[1], reverse[0]]], dim=2)  # (B, T, 2H)
        return torch.cat([forward[rows, ends - 1], backward[rows, ends - 1]], dim=1)  # (B, 2H)

    def _read_packed(self, x: Tensor, ends: Tensor) -> Tensor:
        """As `_read_ends`, over true steps only, in `precision`, with a faster backward pass than torch.lstm has."""
        packing = packed_lstm.pack(ends, x.shape[1], packed_lstm.n_parts())
        x = x.flatten(0, 1).index_select(0, packing.index).to(self.precision)  # (S, F)
        for layer in range(self.config.n_layers):
            outputs = [packed_lstm.lstm(x, self._weights(layer, ""), packing)]  # (S, H)
            if self.config.bidirectional:
                reversed_x = x.index_select(0, packing.reverse)
                outputs.append(
                    packed_lstm.lstm(reversed_x, self._weights(layer, "_reverse"), packing)
                )  # (S, H), reversed
            if layer < self.config.n_layers - 1:
                x = torch.cat([outputs[0], *(h.index_select(0, packing.reverse) for h in outputs[1:])], 1)  # (S, D * H)
        return torch.cat([h.index_select(0, packing.last) for h in outputs], 1).float()  # (B, D * H)

    def _weights(self, layer: int, suffix: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return cast(
            tuple[Tensor, Tensor, Tensor, Tensor], tuple(getattr(self.lstm, f"{key}_l{layer}{suffix}") for key in keys)
        )

    def _direction(self, x: Tensor, layer: int, suffix: str) -> Tensor:
        zeros = x.new_zeros(1, len(x), self.config.hidden_size)
        # As nn.LSTM calls it: input, state, weights; has biases, layers, dropout, training, two-way, batch first.
        output, _, _ = torch.lstm(
            x, (zeros, zeros), self._weights(layer, suffix), True, 1, 0.0, self.training, False, True
        )
        return output  # (B, T, H)


def n_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters())
