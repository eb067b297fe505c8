"""bfloat16 for compiled code: numbers and rows of it, or of float32, read and written as float32.

It is the upper half of a float32. Numba has no such type, so its bits go as uint16.
"""

from typing import Any

import numba
import numpy as np
import torch
from numba.core import types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor


def bits_as_array(tensor: Tensor) -> NDArray[Any]:
    """The memory of a tensor as an array; bfloat16 as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


@numba.njit(inline="always")
def _rounded(bits: Any) -> Any:
    """The upper half of a float32's bits, rounded to even. What is not finite stays so, but for a NaN of few bits."""
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


def read(array: Any, j: Any) -> Any:
    """A number of an array as float32."""
    raise NotImplementedError("for compiled code")


@overload(read)
def _compiled_read(array: Any, j: Any) -> Any:
    def of_bfloat16(array: Any, j: Any) -> Any:
        return np.uint32(np.uint32(array[j]) << np.uint32(16)).view(np.float32)

    def of_float32(array: Any, j: Any) -> Any:
        return array[j]

    return of_bfloat16 if array.dtype == types.uint16 else of_float32


def write(array: Any, j: Any, value: Any) -> None:
    """The reverse."""
    raise NotImplementedError("for compiled code")


@overload(write)
def _compiled_write(array: Any, j: Any, value: Any) -> Any:
    def to_bfloat16(array: Any, j: Any, value: Any) -> None:
        array[j] = _rounded(np.float32(value).view(np.uint32))

    def to_float32(array: Any, j: Any, value: Any) -> None:
        array[j] = value

    return to_bfloat16 if array.dtype == types.uint16 else to_float32


def widen(source: Any, target: Any, bits: Any) -> None:
    """One row as float32 in `target`, whose memory is `bits` (uint32) too; bfloat16 comes as uint16."""
    raise NotImplementedError("for compiled code")


@overload(widen)
def _compiled_widen(source: Any, target: Any, bits: Any) -> Any:
    def of_bfloat16(source: Any, target: Any, bits: Any) -> None:
        for j in range(len(source)):
            bits[j] = np.uint32(source[j]) << np.uint32(16)

    def of_float32(source: Any, target: Any, bits: Any) -> None:
        for j in range(len(source)):
            target[j] = source[j]

    return of_bfloat16 if source.dtype == types.uint16 else of_float32


def narrow(source: Any, bits: Any, target: Any) -> None:
    """The reverse: one row from float32, whose memory is `bits` too."""
    raise NotImplementedError("for compiled code")


@overload(narrow)
def _compiled_narrow(source: Any, bits: Any, target: Any) -> Any:
    def to_bfloat16(source: Any, bits: Any, target: Any) -> None:
        for j in range(len(target)):
            target[j] = _rounded(bits[j])

    def to_float32(source: Any, bits: Any, target: Any) -> None:
        for j in range(len(target)):
            target[j] = source[j]

    return to_bfloat16 if target.dtype == types.uint16 else to_float32
