"""The gates of an LSTM's step for compiled code, forward and backward: all of a row's arithmetic in registers.

The loops of a row would be short, and there would be many; here whole registers of hidden units go through all of it at
a time, written as vectors of LLVM. What does not fill a register goes number by number through the same formulas.

bfloat16 is the upper half of a float32. Numba has no such type, so its bits go as uint16.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import overload

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


@numba.njit(inline="always")
def rounded_to_bfloat16(bits: Any) -> Any:
    """The upper half of a float32's bits, rounded to even. What is not finite stays so, but for a NaN of few bits."""
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


def _read(array: Any, j: Any) -> Any:
    """A number of an array as float32."""
    raise NotImplementedError("for compiled code")


@overload(_read)
def _compiled_read(array: Any, j: Any) -> Any:
    def of_bfloat16(array: Any, j: Any) -> Any:
        return np.uint32(np.uint32(array[j]) << np.uint32(16)).view(np.float32)

    def of_float32(array: Any, j: Any) -> Any:
        return array[j]

    return of_bfloat16 if array.dtype == types.uint16 else of_float32


def _write(array: Any, j: Any, value: Any) -> None:
    """The reverse."""
    raise NotImplementedError("for compiled code")


@overload(_write)
def _compiled_write(array: Any, j: Any, value: Any) -> Any:
    def to_bfloat16(array: Any, j: Any, value: Any) -> None:
        array[j] = rounded_to_bfloat16(_F(value).view(np.uint32))

    def to_float32(array: Any, j: Any, value: Any) -> None:
        array[j] = value

    return to_bfloat16 if array.dtype == types.uint16 else to_float32


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
    context: Any, a: Any, c_before: Any, c: Any, tanh_c: Any, h: Any, state: Any, n: Any, n_whole: Any
) -> Any:
    """Compiled: `activate` of the first `n_whole` units. Arrays but for `c_before` and `state`, which are addresses."""
    signature = types.void(a, types.uintp, c, tanh_c, h, types.uintp, types.intp, types.intp)
    is_narrow = h.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a_at, c_at, tanh_at, h_at = (_address(context, builder, signature, args, k) for k in (0, 2, 3, 4))
        before_at, state_at, n, n_whole = args[1], args[5], args[6], args[7]

        def body(j: Any) -> None:
            at = builder.mul(j, _I64(4))
            row = builder.mul(n, _I64(4))
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
    context: Any, a: Any, dh: Any, following: Any, tanh_c: Any, dc: Any, c_before: Any, out: Any, n: Any, n_whole: Any
) -> Any:
    """Compiled: `deactivate` of the first `n_whole` units. `following` and `c_before` are addresses."""
    signature = types.void(a, dh, types.uintp, tanh_c, dc, types.uintp, out, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a_at, dh_at, tanh_at, dc_at, out_at = (_address(context, builder, signature, args, k) for k in (0, 1, 3, 4, 6))
        following_at, before_at, n, n_whole = args[2], args[5], args[7], args[8]
        dh_is_narrow, out_is_narrow = (signature.args[k].dtype == types.uint16 for k in (1, 6))

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


def _address(context: Any, builder: Any, signature: Any, args: Any, k: int) -> Any:
    """That of the numbers of the array which is argument `k`."""
    array = context.make_array(signature.args[k])(context, builder, args[k])
    return builder.ptrtoint(array.data, _I64)


# --- Rows -------------------------------------------------------------------------------------------------------------


@_jit
def activate(a: Any, c_before: Any, c: Any, tanh_c: Any, h: Any, state: Any) -> None:
    """Gates i, f, g, o in `a` (4H,) from what they are before activation; cell and hidden state (H,).

    All are float32 but `h` and `state`, which get the same and may be uint16, for bfloat16. The numbers of a row lie
    side by side.
    """
    n = len(c)
    n_whole = n - n % LANES
    before_at, state_at = c_before.ctypes.data, state.ctypes.data
    _activate_registers(a, before_at, c, tanh_c, h, state_at, n, n_whole)
    for j in range(n_whole, n):
        i, f = _sigmoid(-_LOG2_E * a[j]), _sigmoid(-_LOG2_E * a[n + j])
        g, o = _tanh(a[2 * n + j]), _sigmoid(-_LOG2_E * a[3 * n + j])
        a[j], a[n + j], a[2 * n + j], a[3 * n + j] = i, f, g, o
        c[j] = f * c_before[j] + i * g
        tanh_c[j] = _tanh(c[j])
        _write(h, j, o * tanh_c[j])
        _write(state, j, o * tanh_c[j])


@_jit
def deactivate(a: Any, dh: Any, following: Any, tanh_c: Any, dc: Any, c_before: Any, out: Any) -> None:
    """Gradients of the gates before activation, of the gates `a` (4H,), into `out`, which may be `a`.

    `dh` and `following` (H,) are two parts of the hidden state's gradient; `dc` is the cell state's, afterwards that of
    the one before the step. `dh` and `out` may be uint16, for bfloat16.
    """
    n = len(dc)
    n_whole = n - n % LANES
    following_at, before_at = following.ctypes.data, c_before.ctypes.data
    _deactivate_registers(a, dh, following_at, tanh_c, dc, before_at, out, n, n_whole)
    for j in range(n_whole, n):
        i, f, g, o = a[j], a[n + j], a[2 * n + j], a[3 * n + j]
        both = _read(dh, j) + following[j]
        de = dc[j] + both * o * (_ONE - tanh_c[j] * tanh_c[j])
        dc[j] = de * f
        _write(out, j, de * g * i * (_ONE - i))
        _write(out, n + j, dc[j] * c_before[j] * (_ONE - f))
        _write(out, 2 * n + j, de * i * (_ONE - g * g))
        _write(out, 3 * n + j, both * tanh_c[j] * o * (_ONE - o))
