"""The precision that a configuration asks for; what is imported here needs no PyTorch."""

import functools

from quickstroke.config.training import Precision, TrainConfig


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it."""
    from llvmlite.binding import get_host_cpu_features

    return any(get_host_cpu_features().get(feature) for feature in ("avx512bf16", "amx-bf16"))


def pick_precision(config: TrainConfig, device_type: str) -> Precision:
    """The precision that a configuration means on a device, `cpu` or `cuda`: `float32` or `bfloat16`."""
    if config.precision != "auto":
        return config.precision
    return "bfloat16" if device_type == "cpu" and config.recipe != "2020" and multiplies_bfloat16() else "float32"
