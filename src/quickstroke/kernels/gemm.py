"""Matrix products for compiled code, in float32 and bfloat16, with float32 sums, as this processor has them fastest.

bfloat16 is multiplied in tiles (`tiles`) where there are any, float32 on Intel's processors by MKL (`mkl`), and
whatever else by vectors (`vectors`).

bfloat16 is the upper half of a float32. Numba has no such type, so its bits go as uint16.

    multiply(a, pack(b), out)                 out = a b
    multiply_transposed(a, b, out, adds)      out = a' b, or out += a' b where `adds`

`a` and `b` are arrays (M, K) and (K, N), or (K, M) and (K, N), both float32 or both uint16, rows of numbers side by
side; `out` is float32 (M, N) without gaps. What is packed can be multiplied by as often as one likes.
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from numba.core import types

from quickstroke.kernels import mkl, tiles, vectors
from quickstroke.kernels.bfloat16 import by_type

if TYPE_CHECKING:
    import torch


def _of(array: Any) -> ModuleType:
    """Where the products are that a matrix of this type has."""
    if array.dtype == types.float32:
        return mkl if mkl.IS_THERE else vectors
    return tiles if tiles.ARE_THERE else vectors


# What is chosen is compiled as it is: a function that called it would take a second more in a first training.


@by_type
def pack(b: Any) -> Any:
    return _of(b).pack.function


@by_type
def multiply(a: Any, packed: Any, out: Any) -> Any:
    return _of(a).multiply.function


@by_type
def multiply_transposed(a: Any, b: Any, out: Any, adds: Any) -> Any:
    return _of(a).multiply_transposed.function


def n_columns(n: int, kind: "torch.dtype") -> int:
    """How many columns `a` should have for `n` that count, of zeros beyond these: a whole number of steps of a tile,
    else of pairs."""
    at_a_time = tiles.STEP if tiles.ARE_THERE and kind.itemsize == 2 else 2
    return -(-n // at_a_time) * at_a_time


def described() -> str:
    """Which products these are: with others the last digits of a result differ."""
    of_float32 = "MKL" if mkl.IS_THERE else f"vectors of {vectors.LANES}"
    of_bfloat16 = ", tiles" if tiles.ARE_THERE else ", bfloat16" if vectors.HAS_DOTS else ""
    return of_float32 + of_bfloat16
