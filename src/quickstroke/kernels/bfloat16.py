"""bfloat16 for compiled code: rows of it, or of float32, read and written as float32.

It is the upper half of a float32. Numba has no such type, so its bits go as uint16.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import types
from numba.extending import overload
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def bits_as_array(tensor: "Tensor") -> NDArray[Any]:
    """The memory of a tensor as an array; bfloat16 as uint16."""
    import torch  # whoever has a tensor has it, and what is compiled does without

    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


@numba.njit(inline="always")
def _rounded(bits: Any) -> Any:
    """The upper half of a float32's bits, rounded to even. What is not finite stays so, but for a NaN of few bits."""
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


def by_type(choose: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function for compiled code: `choose` returns what is compiled for the types of its arguments."""

    @functools.wraps(choose)
    def refuse(*arguments: Any) -> Any:
        raise NotImplementedError("for compiled code")

    options: Any = {"error_model": "numpy", "fastmath": False, "no_cfunc_wrapper": True}
    overload(refuse, jit_options=options)(choose)
    return refuse


@by_type
def widen(source: Any, target: Any, bits: Any) -> Any:
    """One row as float32 in `target`, whose memory is `bits` (uint32) too; bfloat16 comes as uint16."""

    def of_bfloat16(source: Any, target: Any, bits: Any) -> None:
        for j in range(len(source)):
            bits[j] = np.uint32(source[j]) << np.uint32(16)

    def of_float32(source: Any, target: Any, bits: Any) -> None:
        for j in range(len(source)):
            target[j] = source[j]

    return of_bfloat16 if source.dtype == types.uint16 else of_float32


@by_type
def narrow(source: Any, bits: Any, target: Any) -> Any:
    """The reverse: one row from float32, whose memory is `bits` too."""

    def to_bfloat16(source: Any, bits: Any, target: Any) -> None:
        for j in range(len(target)):
            target[j] = _rounded(bits[j])

    def to_float32(source: Any, bits: Any, target: Any) -> None:
        for j in range(len(target)):
            target[j] = source[j]

    return to_bfloat16 if target.dtype == types.uint16 else to_float32
