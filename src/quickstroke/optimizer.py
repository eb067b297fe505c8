"""Adam, and AdamW where there is a weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019).

The arithmetic is PyTorch's fused kernel. Its own class does the same, but imports PyTorch's compiler when it is made:
70 MB and seconds that a small model's training does not need.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


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
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self._parameters]

    @property
    def tensors(self) -> list[Tensor]:
        """All that it remembers of earlier steps."""
        return [*self._averages, *self._squares, *self._steps]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, is_skipped: Tensor | None = None) -> None:
        """Moves every parameter that has a gradient; none where `is_skipped`, bool () on their device, says so."""
        found = None if is_skipped is None else is_skipped.float()
        for decay in sorted(set(self._decays)):
            rows = [
                (parameter, parameter.grad, average, square, count)
                for parameter, own, average, square, count in zip(
                    self._parameters, self._decays, self._averages, self._squares, self._steps, strict=True
                )
                if own == decay and parameter.grad is not None
            ]
            if not rows:
                continue
            parameters, gradients, averages, squares, counts = map(list, zip(*rows, strict=True))
            torch._foreach_add_(counts, 1)
            if found is not None:
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
