"""Adam, and AdamW where there is a weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019); Muon.

Adam's arithmetic is PyTorch's fused kernel. Its own class does the same, but imports PyTorch's compiler when it is
made: 70 MB and seconds that a small model's training does not need.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from quickstroke.config.training import TrainConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_MOMENTUM = 0.95
# Five times X <- a X + (b X X' + c X X' X X') X takes singular values from 0.01 to 1 near 1 (Jordan et al., 2024).
_N_ITERATIONS, _ITERATION = 5, (3.4445, -4.7750, 2.0315)
# How far Adam moves each weight on average, as a part of its learning rate (Liu et al., Muon is Scalable, 2025).
_AS_ADAM = 0.2


class Adam:
    """One learning rate for all parameters, a decoupled decay for matrices alone.

    Attributes:
        learning_rate: of the next step.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0) -> None:
        self.learning_rate = learning_rate
        self._parameters = list(parameters)
        self._decays = [weight_decay if parameter.ndim > 1 else 0.0 for parameter in self._parameters]
        self._averages = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.zeros((), dtype=torch.float32, device=parameter.device) for parameter in self._parameters]

    @property
    def tensors(self) -> list[Tensor]:
        """All that it remembers of earlier steps."""
        return [*self._averages, *self._squares, *self._steps]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, is_skipped: Tensor) -> None:
        """Moves every parameter that has a gradient; none where `is_skipped`, bool () on their device, says so."""
        self._step_adam(range(len(self._parameters)), is_skipped)

    def _step_adam(self, which: Iterable[int], is_skipped: Tensor) -> None:
        found = is_skipped.float()
        which = [i for i in which if self._parameters[i].grad is not None]
        for decay in sorted(set(self._decays)):
            own = [i for i in which if self._decays[i] == decay]
            if not own:
                continue
            parameters, averages, squares, counts = (
                [values[i] for i in own] for values in (self._parameters, self._averages, self._squares, self._steps)
            )
            gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
            torch._foreach_add_(counts, 1)
            torch._foreach_sub_(counts, [found] * len(counts))
            torch.ops.aten._fused_adamw_(
                parameters,
                gradients,
                averages,
                squares,
                [],
                counts,
                lr=self.learning_rate,
                beta1=_BETA1,
                beta2=_BETA2,
                weight_decay=decay,
                eps=_EPSILON,
                amsgrad=False,
                maximize=False,
                found_inf=found,
            )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, in the form of PyTorch's optimizers."""
        rows = zip(self._steps, self._averages, self._squares, strict=True)
        state = {i: {"step": step, "exp_avg": m, "exp_avg_sq": v} for i, (step, m, v) in enumerate(rows)}
        return {
            "state": state,
            "param_groups": [{"lr": self.learning_rate, "params": list(range(len(self._parameters)))}],
        }

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave, or that of PyTorch's Adam over the same parameters.

        Raises:
            KeyError, ValueError: it is of other parameters.
        """
        order = [i for group in values["param_groups"] for i in group["params"]]
        if sorted(order) != list(range(len(self._parameters))):
            raise ValueError(f"it is of {len(order)} parameters, not of {len(self._parameters)}")
        self.learning_rate = float(values["param_groups"][0]["lr"])
        targets: dict[str, list[Tensor]] = {
            "step": self._steps,
            "exp_avg": self._averages,
            "exp_avg_sq": self._squares,
        }
        for i in range(len(self._parameters)):
            own = values["state"].get(i)
            for key, tensors in targets.items():
                if own is None:  # no step yet
                    tensors[i].zero_()
                elif own[key].shape != tensors[i].shape:
                    raise ValueError(f"{key} of parameter {i} is {tuple(own[key].shape)}")
                else:
                    tensors[i].copy_(own[key])


class Muon(Adam):
    """Adam but for the matrices of LSTMs and convolutions: they move along their momentum made orthogonal.

    So a step goes as far in directions that gradients seldom point in as in those that they mostly do. The four gates
    of an LSTM are four matrices, a convolution's filters the rows of one. They move as far a step as with Adam, so that
    learning rate and decay mean the same. Source: Jordan et al., Muon: An optimizer for hidden layers (2024).

    Args:
        model: whose LSTMs and convolutions these are.
        precision: of the products that make a matrix orthogonal.
    """

    def __init__(
        self, model: nn.Module, learning_rate: float, weight_decay: float = 0.0, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__(model.parameters(), learning_rate, weight_decay)
        n_matrices: dict[nn.Parameter, int] = {}
        for module in model.modules():
            if isinstance(module, (nn.LSTM, nn.Conv1d, nn.Conv2d)):
                n = 4 if isinstance(module, nn.LSTM) else 1
                n_matrices |= {parameter: n for parameter in module.parameters() if parameter.ndim > 1}
        self._n_matrices = [n_matrices.get(parameter, 0) for parameter in self._parameters]
        self._precision = precision

    @torch.no_grad()
    def step(self, is_skipped: Tensor) -> None:
        """Moves every parameter that has a gradient; none where `is_skipped`, bool () on their device, says so."""
        self._step_adam([i for i, n in enumerate(self._n_matrices) if not n], is_skipped)
        for i, n in enumerate(self._n_matrices):
            parameter, momentum = self._parameters[i], self._averages[i]
            gradient = parameter.grad
            if not n or gradient is None:
                continue
            newest = momentum * _MOMENTUM + gradient
            ahead = (newest * _MOMENTUM + gradient).reshape(n, -1, gradient[0].numel())  # (n, R, C)
            far = self.learning_rate * _AS_ADAM * max(ahead.shape[1:]) ** 0.5
            moved = parameter * (1 - self.learning_rate * self._decays[i])
            moved -= far * orthogonal(ahead, self._precision).reshape(parameter.shape)
            for old, new in ((parameter, moved), (momentum, newest)):
                old.copy_(torch.where(is_skipped, old, new))


def orthogonal(matrices: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Float32 (N, R, C): each matrix with its singular values, large or small, taken to about 1; zeros stay zeros."""
    is_high = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_high else matrices
    x = (x / x.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]).to(precision)
    a, b, c = _ITERATION
    for _ in range(_N_ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_high else x).float()


def optimizer_of(config: TrainConfig, model: nn.Module) -> Adam:
    """The optimizer of a configuration, for a model's weights."""
    if config.optimizer == "muon":
        return Muon(model, config.learning_rate, config.weight_decay, getattr(torch, config.precision))
    return Adam(model.parameters(), config.learning_rate, config.weight_decay)
