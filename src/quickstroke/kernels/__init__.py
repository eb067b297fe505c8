"""Compiled code: matrix products, the LSTM, convolutions and what follows them, pooling, images, arrays, threads.

A module is imported when it is first named. All but `raster` import numba, which a guess by PyTorch does not need.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quickstroke.kernels import conv, image_norm, lstm, pool, raster, threads

__all__ = ["conv", "image_norm", "lstm", "pool", "raster", "threads"]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
