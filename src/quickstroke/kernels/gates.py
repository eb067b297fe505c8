"""The gates of an LSTM's step for compiled code, forward and backward: all of a row's arithmetic in registers.

The loops of a row would be short, and there would be many; here whole registers of hidden units go through all of it at
a time, written as vectors of LLVM. What does not fill a register goes number by number through the same formulas.

What the backward pass needs to know of a step are numbers from 0 to 1, the gates i, f and o, and from -1 to 1, g and
the cell states' tanh. Where products are bfloat16 these are kept as *fractions*, 16 bits in even steps, a hundred times
finer near 1 than those of bfloat16: half as much to bring from memory, which all cores share.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from quickstroke.kernels.arrays import compiled, row_at, unpack
from quickstroke.kernels.vectors import HAS_DOTS, LANES, UniTuple, as_bfloat16, fused, instruction
from quickstroke.utils.compiled import jit

_F = np.float32
_ONE, _TWO = _F(1), _F(2)
_LOG2_E = _F(np.log2(np.e))
# Adding it to a float32 of small magnitude rounds that to a whole number, which its low bits then are.
_ROUND = _F(1.5 * 2**23)
_BITS_OF_ONE = 0x3F800000
_LOWEST, _HIGHEST = _F(-126), _F(126)


def _power_of_two() -> list[Any]:
    """Coefficients of 2^f for f from -1/2 to 1/2, lowest first; the relative error is about 1e-7."""
    nodes = np.cos(np.pi * (np.arange(4096) + 0.5) / 4096) / 2
    fit = np.polynomial.Chebyshev.fit(nodes, 2.0**nodes, 5, domain=[-0.5, 0.5])
    return [_F(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


_P = _power_of_two()

# "contract" admits fused multiply-add and nothing that would swallow a NaN.
_jit = jit(error_model="numpy", fastmath={"contract"})


# Numbers in a register of 512 bits.
_IN_512 = 16
# Of a fraction from 0 to 1; from -1 to 1 the steps are twice as long.
_STEPS = _F(65535)


# --- Registers: what does not fill one goes by one number through the same formulas -----------------------------------

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


class _Vector:
    """A register of float32 numbers, `n` of them, in code that is being generated."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value, self.n = builder, value, value.type.count

    def _with(self, instruction: Callable[..., Any], *others: Any) -> "_Vector":
        values = [other.value if isinstance(other, _Vector) else self.splat(other).value for other in others]
        return _Vector(self.builder, instruction(self.value, *values))

    def __add__(self, other: Any) -> "_Vector":
        return self._with(self.builder.fadd, other)

    def __sub__(self, other: Any) -> "_Vector":
        return self._with(self.builder.fsub, other)

    def __mul__(self, other: Any) -> "_Vector":
        return self._with(self.builder.fmul, other)

    def splat(self, value: Any) -> "_Vector":
        """A register of as many equal numbers."""
        return _Vector(self.builder, ir.Constant(self.value.type, self.n * [float(value)]))

    def times_plus(self, factor: Any, term: Any) -> "_Vector":
        """self * factor + term, fused where the processor does that."""
        return self._with(partial(fused, self.builder), factor, term)

    def limited(self, sign: str, bound: Any) -> "_Vector":
        """`bound` where self is beyond it; a NaN stays one."""
        limit = self.splat(bound).value
        is_beyond = self.builder.fcmp_ordered(sign, self.value, limit)
        return _Vector(self.builder, self.builder.select(is_beyond, limit, self.value))

    def one_minus(self) -> "_Vector":
        return self.splat(1) - self

    def sigmoid(self) -> "_Vector":
        """1 / (1 + 2^y): the logistic function of -y / log2(e). The error is about 1e-7."""
        builder, (bits, bits_of) = self.builder, _bits(self.n)
        y = self.limited("<", _LOWEST).limited(">", _HIGHEST)
        shifted = y + _ROUND
        f = y - (shifted - _ROUND)
        fraction = self.splat(_P[-1])
        for coefficient in _P[-2::-1]:
            fraction = fraction.times_plus(f, coefficient)
        whole = builder.shl(builder.bitcast(shifted.value, bits), bits_of(23))
        power = builder.bitcast(builder.add(whole, bits_of(_BITS_OF_ONE)), self.value.type)
        return fraction.times_plus(_Vector(builder, power), 1).inverse()

    def inverse(self) -> "_Vector":
        """1 / self, of numbers from 1 on. The error is about 1e-7."""
        if not self.is_of_512_bits:
            return self.splat(1)._with(self.builder.fdiv, self)
        every = ir.Constant(_I16, -1)  # to approach it takes less time than to divide
        near = self.by_registers(lambda own: instruction(self.builder, "llvm.x86.avx512.rcp14.ps.512", own, own, every))
        return near * (self.splat(2) - self * near)

    @property
    def is_of_512_bits(self) -> bool:
        """Whether these are whole registers of 512 bits."""
        return LANES == _IN_512 and self.n >= LANES

    def by_registers(self, do: Callable[[Any], Any]) -> "_Vector":
        """What `do` gives of each register, sixteen numbers, together."""
        builder, whole = self.builder, ir.Constant(ir.VectorType(_I32, self.n), list(range(self.n)))
        if self.n == _IN_512:
            return _Vector(builder, do(self.value))
        first, second = (
            do(builder.shuffle_vector(self.value, self.value, ir.Constant(ir.VectorType(_I32, _IN_512), list(own))))
            for own in (range(_IN_512), range(_IN_512, 2 * _IN_512))
        )
        return _Vector(builder, builder.shuffle_vector(first, second, whole))

    def tanh(self) -> "_Vector":
        return (self * (-_TWO * _LOG2_E)).sigmoid().times_plus(_TWO, -_ONE)


def _bits(n: int) -> tuple[Any, Callable[[int], Any]]:
    """The type of `n` float32 numbers' bits, and a constant of it."""
    kind = ir.VectorType(_I32, n)
    return kind, lambda number: ir.Constant(kind, n * [number])


def _load(builder: Any, address: Any, n: int, is_narrow: bool = False) -> _Vector:
    floats, (bits, bits_of) = ir.VectorType(ir.FloatType(), n), _bits(n)
    kind = ir.VectorType(_I16, n) if is_narrow else floats
    value = builder.load(builder.inttoptr(address, kind.as_pointer()), align=2 if is_narrow else 4)
    if is_narrow:
        value = builder.bitcast(builder.shl(builder.zext(value, bits), bits_of(16)), floats)
    return _Vector(builder, value)


def _store(vector: _Vector, address: Any, is_narrow: bool = False) -> None:
    builder, value, (bits, bits_of) = vector.builder, vector.value, _bits(vector.n)
    if is_narrow and vector.is_of_512_bits and HAS_DOTS:
        value = vector.by_registers(lambda own: as_bfloat16(builder, own)).value
    elif is_narrow:
        value = builder.bitcast(value, bits)
        odd = builder.and_(builder.lshr(value, bits_of(16)), bits_of(1))
        rounded = builder.add(builder.add(value, bits_of(0x7FFF)), odd)
        value = builder.trunc(builder.lshr(rounded, bits_of(16)), ir.VectorType(_I16, vector.n))
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=2 if is_narrow else 4)


def _load_fraction(builder: Any, address: Any, n: int, is_narrow: bool, is_signed: bool) -> _Vector:
    """Numbers from 0 to 1, or from -1 to 1, as memory of either type keeps them."""
    if not is_narrow:
        return _load(builder, address, n)
    value = builder.load(builder.inttoptr(address, ir.VectorType(_I16, n).as_pointer()), align=2)
    whole = _Vector(builder, builder.sitofp(builder.zext(value, _bits(n)[0]), ir.VectorType(ir.FloatType(), n)))
    return whole.times_plus(_TWO / _STEPS, -_ONE) if is_signed else whole * (_ONE / _STEPS)


def _store_fraction(vector: _Vector, address: Any, is_narrow: bool, is_signed: bool) -> None:
    """The reverse."""
    if not is_narrow:
        _store(vector, address)
        return
    builder = vector.builder
    if is_signed:
        vector = vector.times_plus(_STEPS / _TWO, _STEPS / _TWO)
    scaled = vector + _ROUND if is_signed else vector.times_plus(_STEPS, _ROUND)
    whole = builder.trunc(builder.bitcast(scaled.value, _bits(vector.n)[0]), ir.VectorType(_I16, vector.n))
    builder.store(whole, builder.inttoptr(address, whole.type.as_pointer()), align=2)


def _over_units(builder: Any, n: Any, sizes: Sequence[int], body: Callable[[Any, int], None]) -> None:
    """Generates loops over `n` hidden units; `body` gets the number of the first one, and how many go together: as
    many as the first of `sizes`, powers of two, and of what that leaves, as the next."""
    begin = _I64(0)
    for size in sizes:
        end = builder.and_(n, _I64(-size))
        with cgutils.for_range_slice(builder, begin, end, _I64(size)) as (j, _):
            body(j, size)
        begin = end


@compiled  # type: ignore[untyped-decorator]
def _activate_row(context: Any, places: Any, kind: Any, n: Any) -> Any:
    """Compiled: a row of `activate_rows`, of `n` units, by addresses; what may be narrow is as `kind`."""
    signature = types.void(UniTuple(types.uintp, 7), kind, types.intp)
    is_narrow = kind.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places, _, n = args
        a_at, gates_at, before_at, c_at, tanh_at, h_at, state_at = unpack(builder, places)
        row = builder.mul(n, _I64(4))
        kept_row = builder.mul(n, _I64(2 if is_narrow else 4))

        def body(j: Any, k: int) -> None:
            at, kept_at = builder.mul(j, _I64(4)), builder.mul(j, _I64(2 if is_narrow else 4))
            of_gates, kept_places = [builder.add(a_at, at)], [builder.add(gates_at, kept_at)]
            for _ in range(3):
                of_gates.append(builder.add(of_gates[-1], row))
                kept_places.append(builder.add(kept_places[-1], kept_row))
            i, f, g, o = (_load(builder, place, k) for place in of_gates)
            i, f, o = ((x * -_LOG2_E).sigmoid() for x in (i, f, o))
            g = g.tanh()
            new = f.times_plus(_load(builder, builder.add(before_at, at), k), i * g)
            tanh = new.tanh()
            for x, place in zip((i, f, g, o), kept_places, strict=True):
                _store_fraction(x, place, is_narrow, x is g)
            _store(new, builder.add(c_at, at))
            _store_fraction(tanh, builder.add(tanh_at, kept_at), is_narrow, True)
            for place in (h_at, state_at):
                _store(o * tanh, builder.add(place, kept_at), is_narrow)

        # Of two registers each instruction has another one that does not wait for it.
        _over_units(builder, n, (2 * LANES, LANES, 1), body)
        return context.get_dummy_value()

    return signature, generate


@compiled  # type: ignore[untyped-decorator]
def _activate_row_backward(context: Any, places: Any, kind: Any, n: Any) -> Any:
    """Compiled: a row of `activate_rows_backward`, of `n` units, by addresses; `kind` as there."""
    signature = types.void(UniTuple(types.uintp, 6), kind, types.intp)
    is_narrow = kind.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places, _, n = args
        gates_at, dh_at, following_at, tanh_at, dc_at, before_at = unpack(builder, places)
        kept_row = builder.mul(n, _I64(2 if is_narrow else 4))

        def body(j: Any, k: int) -> None:
            at, kept_at = builder.mul(j, _I64(4)), builder.mul(j, _I64(2 if is_narrow else 4))
            of_gates = [builder.add(gates_at, kept_at)]
            for _ in range(3):
                of_gates.append(builder.add(of_gates[-1], kept_row))
            i, f, g, o = (_load_fraction(builder, place, k, is_narrow, place is of_gates[2]) for place in of_gates)
            dh = _load(builder, builder.add(dh_at, kept_at), k, is_narrow)
            dh += _load(builder, builder.add(following_at, at), k)
            tanh = _load_fraction(builder, builder.add(tanh_at, kept_at), k, is_narrow, True)
            before = _load(builder, builder.add(before_at, at), k)
            place_of_dc = builder.add(dc_at, at)
            de = (dh * o).times_plus((tanh * tanh).one_minus(), _load(builder, place_of_dc, k))
            dc = de * f
            di, df = de * g * i * i.one_minus(), dc * before * f.one_minus()
            dg, do = de * i * (g * g).one_minus(), dh * tanh * o * o.one_minus()
            _store(dc, place_of_dc)
            for x, place in zip((di, df, dg, do), of_gates, strict=True):
                _store(x, place, is_narrow)

        _over_units(builder, n, (LANES, 1), body)
        return context.get_dummy_value()

    return signature, generate


# --- Steps ------------------------------------------------------------------------------------------------------------


@_jit
def activate_rows(
    sums: Any,
    gates: Any,
    c: Any,
    tanh_c: Any,
    h: Any,
    state: Any,
    owner: Any,
    at: Any,
    kept: Any,
    before: Any,
    after: Any,
    n_next: Any,
) -> None:
    """One step of the drawings whose gates float32 (R, 4H), before activation, are `sums`: i, f, g, o.

    Rows of `gates` (activated; they may be `sums`), `c` and `tanh_c` begin at `kept`; what is kept of the step before
    is at `before`, and the first step has none: that is negative, and the last row of `c`, which is zeros, is taken.
    The hidden states go to `h` from `at` on, and for the first `n_next` drawings, which go on, to `state` from `after`
    on. If rows have an `owner` int64 each, `h` has one row for each drawing, and those that end here go to their
    owner's. `c` is float32; the others are too, or all uint16, for bfloat16 and fractions. The numbers of a row lie
    side by side.
    """
    n, zeros_at = c.shape[1], row_at(c, len(c) - 1)
    for r in range(len(sums)):
        before_at = row_at(c, before + r) if before >= 0 else zeros_at
        c_at, tanh_at = row_at(c, kept + r), row_at(tanh_c, kept + r)
        h_at = row_at(h, owner[r] if len(owner) else at + r)
        state_at = row_at(state, after + r) if r < n_next else h_at
        if len(owner) and r < n_next:
            h_at = state_at
        places = row_at(sums, r), row_at(gates, kept + r), before_at, c_at, tanh_at, h_at, state_at
        _activate_row(places, h, n)


@_jit
def activate_rows_backward(
    gates: Any,
    dh: Any,
    following: Any,
    tanh_c: Any,
    dc: Any,
    c: Any,
    owner: Any,
    begin: Any,
    end: Any,
    before: Any,
    n_next: Any,
) -> None:
    """Gradients of the gates before activation of one step's drawings, its rows from `begin` to `end`.

    Args:
        gates: what `activate_rows` made, of all steps, as are `tanh_c`, `c` and `dh`, the hidden states' gradient. The
            gradients come in their place, as bfloat16 in that of fractions.
        following: the other part of the hidden states' gradient, of the `n_next` drawings that went on.
        dc: of the cell states, and afterwards of those before the step, which are at `before` if not negative; else
            they are the last row of `c`, zeros, which also stands for gradients that are not there.
        owner: as in `activate_rows`; if rows have one, `dh` has one row for each drawing, of its last step.
    """
    n, zeros_at = c.shape[1], row_at(c, len(c) - 1)
    for r in range(end - begin):
        following_at = row_at(following, r) if r < n_next else zeros_at
        before_at = row_at(c, before + r) if before >= 0 else zeros_at
        at, tanh_at, dc_at = begin + r, row_at(tanh_c, begin + r), row_at(dc, r)
        dh_at = row_at(dh, owner[r] if len(owner) else at)
        if len(owner) and r < n_next:
            dh_at = zeros_at
        places = row_at(gates, at), dh_at, following_at, tanh_at, dc_at, before_at
        _activate_row_backward(places, gates, n)
