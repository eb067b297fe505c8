"""The gates of an LSTM's step for compiled code, forward and backward: all of a row's arithmetic in registers.

The loops of a row would be short, and there would be many; here whole registers of hidden units go through all of it at
a time, written as vectors of LLVM. What does not fill a register goes number by number through the same formulas.

What the backward pass needs to know of a step are numbers from 0 to 1, the gates i, f and o, and from -1 to 1, g and
the cell states' tanh. Where products are bfloat16 these are kept as *fractions*, 16 bits in even steps, a hundred times
finer near 1 than those of bfloat16: half as much to bring from memory, which all cores share.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from quickstroke.kernels.bfloat16 import read, write
from quickstroke.kernels.gemm import LANES, compiled
from quickstroke.utils.compiled import jit

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
_jit = jit(error_model="numpy", fastmath={"contract"})


# --- Number by number -------------------------------------------------------------------------------------------------


@_jit
def _sigmoid(y: Any) -> Any:
    """1 / (1 + 2^y): the logistic function of -y / log2(e). The error is about 1e-7."""
    y = _LOWEST if y < _LOWEST else y
    y = _HIGHEST if y > _HIGHEST else y
    shifted = _F(y + _ROUND)
    f = y - (shifted - _ROUND)
    fraction = _P0 + f * (_P1 + f * (_P2 + f * (_P3 + f * (_P4 + f * _P5))))
    power = np.int32((_F(shifted).view(np.int32) << np.int32(23)) + _BITS_OF_ONE).view(np.float32)
    return _ONE / (_ONE + fraction * power)


@_jit
def _tanh(x: Any) -> Any:
    return _TWO * _sigmoid(-_TWO * _LOG2_E * x) - _ONE


# Of a fraction from 0 to 1; from -1 to 1 the steps are twice as long.
_STEPS = _F(65535)


@_jit
def _write_fraction(array: Any, j: Any, value: Any, is_signed: Any) -> None:
    """A number from 0 to 1, or from -1 to 1, as an array of either type keeps it."""
    if array.itemsize == 4:
        array[j] = value
    else:
        array[j] = np.uint16(np.int32((_F(0.5) * value + _F(0.5) if is_signed else value) * _STEPS + _F(0.5)))


@_jit
def _read_fraction(array: Any, j: Any, is_signed: Any) -> Any:
    """The reverse."""
    if array.itemsize == 4:
        return _F(array[j])
    value = _F(array[j]) * (_ONE / _STEPS)
    return _TWO * value - _ONE if is_signed else value


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


def _load_fraction(builder: Any, address: Any, is_narrow: bool, is_signed: bool) -> _Vector:
    """As `_read_fraction`."""
    if not is_narrow:
        return _load(builder, address)
    value = builder.load(builder.inttoptr(address, _HALVES.as_pointer()))
    value.align = 2
    whole = _Vector(builder, builder.sitofp(builder.zext(value, _BITS), _FLOATS))
    return whole.times_plus(_TWO / _STEPS, -_ONE) if is_signed else whole * (_ONE / _STEPS)


def _store_fraction(vector: _Vector, address: Any, is_narrow: bool, is_signed: bool) -> None:
    """As `_write_fraction`."""
    if not is_narrow:
        _store(vector, address)
        return
    builder = vector.builder
    scaled = vector.times_plus(_STEPS / _TWO, (_STEPS + _ONE) / _TWO) if is_signed else vector.times_plus(_STEPS, 0.5)
    whole = builder.trunc(builder.fptosi(scaled.value, _BITS), _HALVES)
    builder.store(whole, builder.inttoptr(address, whole.type.as_pointer())).align = 2


def _over_registers(builder: Any, n_whole: Any, body: Callable[[Any], None]) -> None:
    """Generates a loop; `body` gets the number of the first hidden unit."""
    with cgutils.for_range_slice(builder, _I64(0), n_whole, _I64(LANES)) as (j, _):
        body(j)


@compiled  # type: ignore[untyped-decorator]
def _activate_registers(
    context: Any,
    a: Any,
    gates: Any,
    c_before: Any,
    c: Any,
    tanh_c: Any,
    h: Any,
    state: Any,
    kind: Any,
    n: Any,
    n_whole: Any,
) -> Any:
    """Compiled: a row of `activate_rows`, its first `n_whole` units, by addresses; what may be narrow is as `kind`."""
    signature = types.void(*7 * [types.uintp], kind, types.intp, types.intp)
    is_narrow = kind.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a_at, gates_at, before_at, c_at, tanh_at, h_at, state_at, _, n, n_whole = args
        row = builder.mul(n, _I64(4))
        kept_row = builder.mul(n, _I64(2 if is_narrow else 4))

        def body(j: Any) -> None:
            at, kept_at = builder.mul(j, _I64(4)), builder.mul(j, _I64(2 if is_narrow else 4))
            places, kept_places = [builder.add(a_at, at)], [builder.add(gates_at, kept_at)]
            for _ in range(3):
                places.append(builder.add(places[-1], row))
                kept_places.append(builder.add(kept_places[-1], kept_row))
            i, f, g, o = (_load(builder, place) for place in places)
            i, f, o = (_sigmoids(x * -_LOG2_E) for x in (i, f, o))
            g = _tanhs(g)
            new = f.times_plus(_load(builder, builder.add(before_at, at)), i * g)
            tanh = _tanhs(new)
            for x, place in zip((i, f, g, o), kept_places, strict=True):
                _store_fraction(x, place, is_narrow, x is g)
            _store(new, builder.add(c_at, at))
            _store_fraction(tanh, builder.add(tanh_at, kept_at), is_narrow, True)
            for place in (h_at, state_at):
                _store(o * tanh, builder.add(place, kept_at), is_narrow)

        _over_registers(builder, n_whole, body)
        return context.get_dummy_value()

    return signature, generate


@compiled  # type: ignore[untyped-decorator]
def _activate_registers_backward(
    context: Any,
    gates: Any,
    dh: Any,
    following: Any,
    tanh_c: Any,
    dc: Any,
    c_before: Any,
    kind: Any,
    n: Any,
    n_whole: Any,
) -> Any:
    """Compiled: a row of `activate_rows_backward`, its first `n_whole` units, by addresses; `kind` as there."""
    signature = types.void(*6 * [types.uintp], kind, types.intp, types.intp)
    is_narrow = kind.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        gates_at, dh_at, following_at, tanh_at, dc_at, before_at, _, n, n_whole = args
        kept_row = builder.mul(n, _I64(2 if is_narrow else 4))

        def body(j: Any) -> None:
            at, kept_at = builder.mul(j, _I64(4)), builder.mul(j, _I64(2 if is_narrow else 4))
            places = [builder.add(gates_at, kept_at)]
            for _ in range(3):
                places.append(builder.add(places[-1], kept_row))
            i, f, g, o = (_load_fraction(builder, place, is_narrow, k == 2) for k, place in enumerate(places))
            dh = _load(builder, builder.add(dh_at, kept_at), is_narrow) + _load(builder, builder.add(following_at, at))
            tanh = _load_fraction(builder, builder.add(tanh_at, kept_at), is_narrow, True)
            before = _load(builder, builder.add(before_at, at))
            place_of_dc = builder.add(dc_at, at)
            de = (dh * o).times_plus((tanh * tanh).one_minus(), _load(builder, place_of_dc))
            dc = de * f
            di, df = de * g * i * i.one_minus(), dc * before * f.one_minus()
            dg, do = de * i * (g * g).one_minus(), dh * tanh * o * o.one_minus()
            _store(dc, place_of_dc)
            for x, place in zip((di, df, dg, do), places, strict=True):
                _store(x, place, is_narrow)

        _over_registers(builder, n_whole, body)
        return context.get_dummy_value()

    return signature, generate


# --- Rows: addresses, since views of rows take longer to make than short rows to compute ------------------------------


@_jit
def activate_rows(
    sums: Any,
    gates: Any,
    c: Any,
    tanh_c: Any,
    h: Any,
    state: Any,
    at: Any,
    kept: Any,
    before: Any,
    after: Any,
    n_next: Any,
) -> None:
    """One step of the drawings whose gates float32 (R, 4H), before activation, are `sums`: i, f, g, o.

    Rows of `gates` (activated; they may be `sums`), `c` and `tanh_c` begin at `kept`; what is kept of the step before
    is at `before`, and the first step has none: that is negative. The hidden states go to `h` from `at` on, and for the
    first `n_next` drawings, which go on, to `state` from `after` on. `c` is float32; the others are too, or all uint16,
    for bfloat16 and fractions. The numbers of a row lie side by side.
    """
    n = c.shape[1]
    n_whole = n - n % LANES
    zeros = np.zeros(n, np.float32)
    c_row, tanh_row, h_row = np.uintp(c.strides[0]), np.uintp(tanh_c.strides[0]), np.uintp(h.strides[0])
    sums_row, gates_row, state_row = np.uintp(sums.strides[0]), np.uintp(gates.strides[0]), np.uintp(state.strides[0])
    sums_at, h_at = sums.ctypes.data, h.ctypes.data + np.uintp(at) * h_row
    gates_at = gates.ctypes.data + np.uintp(kept) * gates_row
    c_at, tanh_at = c.ctypes.data + np.uintp(kept) * c_row, tanh_c.ctypes.data + np.uintp(kept) * tanh_row
    before_row = c_row if before >= 0 else np.uintp(0)
    before_at = c.ctypes.data + np.uintp(before) * c_row if before >= 0 else zeros.ctypes.data
    state_at = state.ctypes.data + np.uintp(after) * state_row
    for r in range(len(sums)):
        goes_to = state_at if r < n_next else h_at
        _activate_registers(sums_at, gates_at, before_at, c_at, tanh_at, h_at, goes_to, h, n, n_whole)
        for j in range(n_whole, n):
            a, own = sums[r], gates[kept + r]
            i, f = _sigmoid(-_LOG2_E * a[j]), _sigmoid(-_LOG2_E * a[n + j])
            g, o = _tanh(a[2 * n + j]), _sigmoid(-_LOG2_E * a[3 * n + j])
            _write_fraction(own, j, i, False)
            _write_fraction(own, n + j, f, False)
            _write_fraction(own, 2 * n + j, g, True)
            _write_fraction(own, 3 * n + j, o, False)
            new = f * (c[before + r, j] if before >= 0 else _F(0)) + i * g
            c[kept + r, j] = new
            _write_fraction(tanh_c[kept + r], j, _tanh(new), True)
            write(h[at + r], j, o * _tanh(new))
            if r < n_next:
                write(state[after + r], j, o * _tanh(new))
        sums_at += sums_row
        gates_at += gates_row
        before_at += before_row
        c_at += c_row
        tanh_at += tanh_row
        h_at += h_row
        state_at += state_row
    zeros[0] = 0  # its memory was in use until here


@_jit
def activate_rows_backward(
    gates: Any, dh: Any, following: Any, tanh_c: Any, dc: Any, c: Any, begin: Any, end: Any, before: Any, n_next: Any
) -> None:
    """Gradients of the gates before activation of one step's drawings, its rows from `begin` to `end`.

    Args:
        gates: what `activate_rows` made, of all steps, as are `tanh_c`, `c` and `dh`, the hidden states' gradient. The
            gradients come in their place, as bfloat16 in that of fractions.
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
        _activate_registers_backward(
            gates.ctypes.data + at * np.uintp(gates.strides[0]),
            dh.ctypes.data + at * np.uintp(dh.strides[0]),
            following_at,
            tanh_c.ctypes.data + at * np.uintp(tanh_c.strides[0]),
            dc.ctypes.data + np.uintp(r) * np.uintp(dc.strides[0]),
            before_at,
            gates,
            n,
            n_whole,
        )
        for j in range(n_whole, n):
            row, tanh = gates[begin + r], _read_fraction(tanh_c[begin + r], j, True)
            i, f = _read_fraction(row, j, False), _read_fraction(row, n + j, False)
            g, o = _read_fraction(row, 2 * n + j, True), _read_fraction(row, 3 * n + j, False)
            both = read(dh[begin + r], j) + (following[r, j] if r < n_next else _F(0))
            de = dc[r, j] + both * o * (_ONE - tanh * tanh)
            dc[r, j] = de * f
            write(row, j, de * g * i * (_ONE - i))
            write(row, n + j, dc[r, j] * (c[before + r, j] if before >= 0 else _F(0)) * (_ONE - f))
            write(row, 2 * n + j, de * i * (_ONE - g * g))
            write(row, 3 * n + j, both * tanh * o * (_ONE - o))
    zeros[0] = 0  # its memory was in use until here
