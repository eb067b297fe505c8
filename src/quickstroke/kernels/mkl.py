"""Matrix products of float32 for compiled code by MKL, on Intel's processors, where PyTorch brings it.

PyTorch's own can only be called from Python, which takes longer than a small product does.
"""

import ctypes
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import types

from quickstroke.kernels.arrays import array_of, compiled, unpack
from quickstroke.kernels.vectors import instruction, on_stack
from quickstroke.utils.compiled import jit

_jit = jit(error_model="numpy")
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_SYMBOL = "quickstroke_sgemm"


def _find() -> bool:
    """Makes MKL's product, by its Fortran name, known to compiled code; whether there is one worth calling."""
    # On AMD's processors MKL does not use what they can do.
    if llvmlite.binding.get_host_cpu_name().startswith("znver"):
        return False
    torch = importlib.util.find_spec("torch")  # found, but not imported, which takes a second
    if not torch or not torch.origin:
        return False
    try:
        library = ctypes.CDLL(str(Path(torch.origin).parent / "lib" / "libtorch_cpu.so"))
        llvmlite.binding.add_symbol(_SYMBOL, ctypes.cast(library.sgemm_, ctypes.c_void_p).value)
        one_thread_each.append(library.MKL_Set_Num_Threads_Local)
    except (OSError, AttributeError):
        return False
    return True


# To be called with 1 in threads whose products should be no further divided.
one_thread_each: list[Callable[[int], Any]] = []
IS_THERE = _find()


@compiled  # type: ignore[untyped-decorator]
def _call(context: Any, a: Any, b: Any, out: Any, transposed: Any, adds: Any) -> Any:
    """Compiled: out = a b, or a' b where `transposed`; added to what is there where `adds`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b, out = (array_of(signature.args[k])(context, builder, args[k]) for k in range(3))
        (n_rows, n_columns), n_steps = unpack(builder, out.shape), unpack(builder, b.shape)[0]
        a_row, b_row = (builder.udiv(unpack(builder, x.strides)[0], x.itemsize) for x in (a, b))
        no, yes = (ir.IntType(8)(ord(letter)) for letter in "NT")
        one, factor = ir.FloatType()(1), builder.uitofp(args[4], ir.FloatType())

        def at(value: Any, kind: Any = None) -> Any:
            return on_stack(builder, builder.trunc(value, kind) if kind else value)

        # Fortran takes every argument by its address. Its matrices go column by column, so that it sees all of these
        # transposed: out' = b' a'.
        places = [at(no), at(builder.select(args[3], yes, no))]
        places += [at(size, _I32) for size in (n_columns, n_rows, n_steps)]
        places += [at(one), b.data, at(b_row, _I32), a.data, at(a_row, _I32)]
        places += [at(factor), out.data, at(n_columns, _I32)]
        instruction(builder, _SYMBOL, *(builder.ptrtoint(place, _I64) for place in places), gives=ir.VoidType())
        return context.get_dummy_value()

    return types.void(a, b, out, types.boolean, types.boolean), generate


@_jit
def pack(b: Any) -> Any:
    return b


@_jit
def multiply(a: Any, packed: Any, out: Any) -> None:
    _call(a, packed, out, False, False)


@_jit
def multiply_transposed(a: Any, b: Any, out: Any, adds: Any) -> None:
    _call(a, b, out, True, adds)
