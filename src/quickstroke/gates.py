"""The gates of an LSTM's step for compiled code, forward and backward: all of a row's arithmetic in registers.

The loops of a row would be short, and there would be many; here whole registers of hidden units go through all of it at
a time, written as vectors of LLVM. What does not fill a register goes number by number through the same formulas.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from quickstroke.bfloat16 import read, write
from quickstroke.products import LANES, compiled

_F = np.float32
_ONE, _TWO = _F(1), _F(2)
_LOG2_E = _F(np.log2(np.e))
# Adding it to a float32 of small magnitude rounds that to a whole number, which its low bits then are.
_ROUND = _F(1.5 * 2**23)
_BITS_OF_ONE = np.int32(0x3F800000)
_LOWEST, _HIGHEST = _F(-126), _F(126)


def _power_of_two() -> list[Any]:
    """Coefficients of 2^f for f from -1/2 to 1/2, lowest first; the relative error is about 1e-7."""
    nodes = np.cos(np.pi * (np.arange(4096) + 0.5) / 4096) / 2
    fit = np.polynomial.Chebyshev.fit(nodes, 2.0**nodes, 5, domain=[-0.5, 0.5])
    return [_F(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


_P = _power_of_two()
_P0, _P1, _P2, _P3, _P4, _P5 = _P

# "contract" admits fused multiply-add and nothing that would swallow a NaN.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


# --- Number by number -------------------------------------------------------------------------------------------------


@numba.njit(inline="always")
def _sigmoid(y: Any) -> Any:
    """1 / (1 + 2^y): the logistic function of -y / log2(e). The error is about 1e-7."""
    y = _LOWEST if y < _LOWEST else y
    y = _HIGHEST if y > _HIGHEST else y
    shifted = _F(y + _ROUND)
    f = y - (shifted - _ROUND)
    fraction = _P0 + f * (_P1 + f * (_P2 + f * (_P3 + f * (_P4 + f * _P5))))
    power = np.int32((_F(shifted).view(np.int32) << np.int32(23)) + _BITS_OF_ONE).view(np.float32)
    return _ONE / (_ONE + fraction * power)


@numba.njit(inline="always")
def _tanh(x: Any) -> Any:
    return _TWO * _sigmoid(-_TWO * _LOG2_E * x) - _ONE


# --- Registers at a time ----------------------------------------------------------------------------------------------

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOATS, _BITS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(_I32, LANES)
_HALVES = ir.VectorType(_I16, LANES)


class _Vector:
    """A register of float32 numbers in code that is being generated."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _with(self, instruction: Callable[..., Any], other: Any) -> "_Vector":
        right = other.value if isinstance(other, _Vector) else _splat(other)
        return _Vector(self.builder, instruction(self.value, right))

    def __add__(self, other: Any) -> "_Vector":
        return self._with(self.builder.fadd, other)

    def __sub__(self, other: Any) -> "_Vector":
        return self._with(self.builder.fsub, other)

    def __mul__(self, other: Any) -> "_Vector":
        return self._with(self.builder.fmul, other)

    def times_plus(self, factor: Any, term: Any) -> "_Vector":
        """self * factor + term, fused where the processor does that."""
        function = ir.FunctionType(_FLOATS, 3 * [_FLOATS])
        module, name = self.builder.module, f"llvm.fmuladd.v{LANES}f32"
        declared = cgutils.get_or_insert_function(module, function, name)  # type: ignore[no-untyped-call]
        values = [each.value if isinstance(each, _Vector) else _splat(each) for each in (self, factor, term)]
        return _Vector(self.builder, self.builder.call(declared, values))

    def over(self, other: "_Vector") -> "_Vector":
        return self._with(self.builder.fdiv, other)

    def limited(self, sign: str, bound: Any) -> "_Vector":
        """`bound` where self is beyond it; a NaN stays one."""
        is_beyond = self.builder.fcmp_ordered(sign, self.value, _splat(bound))
        return _Vector(self.builder, self.builder.select(is_beyond, _splat(bound), self.value))

    def one_minus(self) -> "_Vector":
        return _Vector(self.builder, _splat(1)) - self


def _splat(value: Any) -> Any:
    return ir.Constant(_FLOATS, LANES * [float(value)])


def _sigmoids(y: _Vector) -> _Vector:
    """As `_sigmoid`."""
    builder = y.builder
    y = y.limited("<", _LOWEST).limited(">", _HIGHEST)
    shifted = y + _ROUND
    f = y - (shifted - _ROUND)
    fraction = _Vector(builder, _splat(_P[-1]))
    for coefficient in _P[-2::-1]:
        fraction = fraction.times_plus(f, coefficient)
    bits = builder.shl(builder.bitcast(shifted.value, _BITS), ir.Constant(_BITS, LANES * [23]))
    power = builder.bitcast(builder.add(bits, ir.Constant(_BITS, LANES * [int(_BITS_OF_ONE)])), _FLOATS)
    one = _Vector(builder, _splat(1))
    return one.over(fraction.times_plus(_Vector(builder, power), one))


def _tanhs(x: _Vector) -> _Vector:
    return _sigmoids(x * (-_TWO * _LOG2_E)).times_plus(_TWO, -_ONE)


def _load(builder: Any, address: Any, is_narrow: bool = False) -> _Vector:
    kind = _HALVES if is_narrow else _FLOATS
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 2 if is_narrow else 4
    if is_narrow:
        bits = builder.shl(builder.zext(value, _BITS), ir.Constant(_BITS, LANES * [16]))
        value = builder.bitcast(bits, _FLOATS)
    return _Vector(builder, value)


def _store(vector: _Vector, address: Any, is_narrow: bool = False) -> None:
    builder, value = vector.builder, vector.value
    if is_narrow:
        bits = builder.bitcast(value, _BITS)
        of_all = [ir.Constant(_BITS, LANES * [number]) for number in (16, 1, 0x7FFF)]
        odd = builder.and_(builder.lshr(bits, of_all[0]), of_all[1])
        value = builder.trunc(builder.lshr(builder.add(builder.add(bits, of_all[2]), odd), of_all[0]), _HALVES)
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 2 if is_narrow else 4


def _over_registers(builder: Any, n_whole: Any, body: Callable[[Any], None]) -> None:
    """Generates a loop; `body` gets the number of the first hidden unit."""
    with cgutils.for_range_slice(builder, _I64(0), n_whole, _I64(LANES)) as (j, _):
        body(j)


@compiled  # type: ignore[untyped-decorator]
def _activate_registers(
    context: Any, a: Any, c_before: Any, c: Any, tanh_c: Any, h: Any, state: Any, kind: Any, n: Any, n_whole: Any
) -> Any:
    """Compiled: a row of `activate_rows`, its first `n_whole` units, by addresses; `h` and `state` are as `kind` is."""
    signature = types.void(*6 * [types.uintp], kind, types.intp, types.intp)
    is_narrow = kind.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a_at, before_at, c_at, tanh_at, h_at, state_at, _, n, n_whole = args
        row = builder.mul(n, _I64(4))

        def body(j: Any) -> None:
            at = builder.mul(j, _I64(4))
            places = [builder.add(a_at, at)]
            for _ in range(3):
                places.append(builder.add(places[-1], row))
            i, f, g, o = (_load(builder, place) for place in places)
            i, f, o = (_sigmoids(x * -_LOG2_E) for x in (i, f, o))
            g = _tanhs(g)
            new = f.times_plus(_load(builder, builder.add(before_at, at)), i * g)
            tanh = _tanhs(new)
            for x, place in zip((i, f, g, o), places, strict=True):
                _store(x, place)
            _store(new, builder.add(c_at, at))
            _store(tanh, builder.add(tanh_at, at))
            at_h = builder.mul(j, _I64(2 if is_narrow else 4))
            for place in (h_at, state_at):
                _store(o * tanh, builder.add(place, at_h), is_narrow)

        _over_registers(builder, n_whole, body)
        return context.get_dummy_value()

    return signature, generate


@compiled  # type: ignore[untyped-decorator]
def _deactivate_registers(
    context: Any,
    a: Any,
    dh: Any,
    following: Any,
    tanh_c: Any,
    dc: Any,
    c_before: Any,
    out: Any,
    kind_of_dh: Any,
    kind_of_out: Any,
    n: Any,
    n_whole: Any,
) -> Any:
    """Compiled: a row of `deactivate_rows`, its first `n_whole` units, by addresses; `dh` and `out` are as said."""
    signature = types.void(*7 * [types.uintp], kind_of_dh, kind_of_out, types.intp, types.intp)
    dh_is_narrow, out_is_narrow = (kind.dtype == types.uint16 for kind in (kind_of_dh, kind_of_out))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a_at, dh_at, following_at, tanh_at, dc_at, before_at, out_at, _, _, n, n_whole = args

        def body(j: Any) -> None:
            at = builder.mul(j, _I64(4))
            i, f, g, o = (
                _load(builder, builder.add(a_at, builder.add(at, builder.mul(n, _I64(4 * k))))) for k in range(4)
            )
            given = _load(builder, builder.add(dh_at, builder.mul(j, _I64(2 if dh_is_narrow else 4))), dh_is_narrow)
            dh = given + _load(builder, builder.add(following_at, at))
            tanh = _load(builder, builder.add(tanh_at, at))
            before = _load(builder, builder.add(before_at, at))
            place_of_dc = builder.add(dc_at, at)
            de = (dh * o).times_plus((tanh * tanh).one_minus(), _load(builder, place_of_dc))
            dc = de * f
            di, df = de * g * i * i.one_minus(), dc * before * f.one_minus()
            dg, do = de * i * (g * g).one_minus(), dh * tanh * o * o.one_minus()
            _store(dc, place_of_dc)
            n_bytes = 2 if out_is_narrow else 4
            for k, x in enumerate((di, df, dg, do)):
                place = builder.add(out_at, builder.mul(builder.add(j, builder.mul(n, _I64(k))), _I64(n_bytes)))
                _store(x, place, out_is_narrow)

        _over_registers(builder, n_whole, body)
        return context.get_dummy_value()

    return signature, generate


# --- Rows: addresses, since views of rows take longer to make than short rows to compute ------------------------------


@_jit
def activate_rows(
    gates: Any, c: Any, tanh_c: Any, h: Any, state: Any, at: Any, kept: Any, before: Any, after: Any, n_next: Any
) -> None:
    """One step of the drawings whose gates (R, 4H), before activation, are `gates`: i, f, g, o; they are activated.

    Rows of `c` and `tanh_c` begin at `kept`; what is kept of the step before is at `before`, and the first step has
    none: that is negative. The hidden states go to `h` from `at` on, and for the first `n_next` drawings, which go on,
    to `state` from `after` on. All are float32 but `h` and `state`, which may be uint16, for bfloat16; the numbers of a
    row lie side by side.
    """
    n = c.shape[1]
    n_whole = n - n % LANES
    zeros = np.zeros(n, np.float32)
    c_row, tanh_row, h_row = np.uintp(c.strides[0]), np.uintp(tanh_c.strides[0]), np.uintp(h.strides[0])
    a_row, state_row = np.uintp(gates.strides[0]), np.uintp(state.strides[0])
    a_at, h_at = gates.ctypes.data, h.ctypes.data + np.uintp(at) * h_row
    c_at, tanh_at = c.ctypes.data + np.uintp(kept) * c_row, tanh_c.ctypes.data + np.uintp(kept) * tanh_row
    before_row = c_row if before >= 0 else np.uintp(0)
    before_at = c.ctypes.data + np.uintp(before) * c_row if before >= 0 else zeros.ctypes.data
    state_at = state.ctypes.data + np.uintp(after) * state_row
    for r in range(len(gates)):
        goes_to = state_at if r < n_next else h_at
        _activate_registers(a_at, before_at, c_at, tanh_at, h_at, goes_to, h, n, n_whole)
        for j in range(n_whole, n):
            a = gates[r]
            i, f = _sigmoid(-_LOG2_E * a[j]), _sigmoid(-_LOG2_E * a[n + j])
            g, o = _tanh(a[2 * n + j]), _sigmoid(-_LOG2_E * a[3 * n + j])
            a[j], a[n + j], a[2 * n + j], a[3 * n + j] = i, f, g, o
            new = f * (c[before + r, j] if before >= 0 else _F(0)) + i * g
            c[kept + r, j], tanh_c[kept + r, j] = new, _tanh(new)
            write(h[at + r], j, o * _tanh(new))
            if r < n_next:
                write(state[after + r], j, o * _tanh(new))
        a_at += a_row
        before_at += before_row
        c_at += c_row
        tanh_at += tanh_row
        h_at += h_row
        state_at += state_row
    zeros[0] = 0  # its memory was in use until here


@_jit
def deactivate_rows(
    gates: Any,
    dh: Any,
    following: Any,
    tanh_c: Any,
    dc: Any,
    c: Any,
    out: Any,
    begin: Any,
    end: Any,
    before: Any,
    n_next: Any,
) -> None:
    """Gradients of the gates before activation of one step's drawings, its rows from `begin` to `end`, into `out`.

    Args:
        gates: what `activate_rows` made of them, of all steps, as are `tanh_c`, `c` and `dh`, the hidden states'
            gradient, which may be uint16; `out` too, and it may be `gates`.
        following: the other part of the hidden states' gradient, of the `n_next` drawings that went on.
        dc: of the cell states, and afterwards of those before the step, which are at `before` if not negative.
    """
    n = c.shape[1]
    n_whole = n - n % LANES
    zeros = np.zeros(n, np.float32)
    for r in range(end - begin):
        at = np.uintp(begin + r)
        following_at, before_at = zeros.ctypes.data, zeros.ctypes.data
        if r < n_next:
            following_at = following.ctypes.data + np.uintp(r) * np.uintp(following.strides[0])
        if before >= 0:
            before_at = c.ctypes.data + np.uintp(before + r) * np.uintp(c.strides[0])
        _deactivate_registers(
            gates.ctypes.data + at * np.uintp(gates.strides[0]),
            dh.ctypes.data + at * np.uintp(dh.strides[0]),
            following_at,
            tanh_c.ctypes.data + at * np.uintp(tanh_c.strides[0]),
            dc.ctypes.data + np.uintp(r) * np.uintp(dc.strides[0]),
            before_at,
            out.ctypes.data + at * np.uintp(out.strides[0]),
            dh,
            out,
            n,
            n_whole,
        )
        for j in range(n_whole, n):
            a, row, tanh = gates[begin + r], out[begin + r], tanh_c[begin + r, j]
            i, f, g, o = a[j], a[n + j], a[2 * n + j], a[3 * n + j]
            both = read(dh[begin + r], j) + (following[r, j] if r < n_next else _F(0))
            de = dc[r, j] + both * o * (_ONE - tanh * tanh)
            dc[r, j] = de * f
            write(row, j, de * g * i * (_ONE - i))
            write(row, n + j, dc[r, j] * (c[before + r, j] if before >= 0 else _F(0)) * (_ONE - f))
            write(row, 2 * n + j, de * i * (_ONE - g * g))
            write(row, 3 * n + j, both * tanh * o * (_ONE - o))
    zeros[0] = 0  # its memory was in use until here
