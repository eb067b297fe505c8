"""Matrix products for compiled code by vectors, in float32 and bfloat16, with float32 sums, for every processor.

Blocks of rows and columns whose sums stay in registers; where the processor has it (AVX512-BF16) by its own product of
bfloat16, elsewhere bfloat16 is widened first. `gemm` says what goes in and comes out.
"""

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from quickstroke.kernels.arrays import compiled, empty, numbers_of, unpack, zeros
from quickstroke.kernels.bfloat16 import by_type
from quickstroke.utils.compiled import jit

_jit = jit(error_model="numpy", fastmath={"contract"})

UniTuple: Any = types.UniTuple  # it and the next have no types
on_stack: Any = cgutils.alloca_once_value
_features = llvmlite.binding.get_host_cpu_features()
# float32 numbers in a register.
LANES = 16 if _features.get("avx512f") else 8 if _features.get("avx2") and _features.get("fma") else 4
HAS_DOTS = bool(_features.get("avx512bf16") and _features.get("avx512f"))
# A block has so many rows, and two registers of columns: its sums are then in registers, with enough of them under way
# at a time to wait for none.
_ROWS = 4 if LANES == 8 else 8
_WIDTH = 2 * LANES
# So many rows of transposed products at a time: what is packed of them stays in a cache, and its strips do not begin
# a power of two apart, where they would take the same places in it.
_CHUNK = 240
# Bytes of a number. As arguments: each literal would be a type of its own, for which a function is compiled once more.
_NUMBER, _NO = np.int64(4), np.bool_(False)


# --- Blocks -----------------------------------------------------------------------------------------------------------


class _BFloat16(ir.Type):  # type: ignore[misc]
    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


_I32, _I64 = ir.IntType(32), ir.IntType(64)
_SUMS = ir.VectorType(ir.FloatType(), LANES)
_PAIRS = ir.VectorType(_I32, LANES)
_NARROW = ir.VectorType(_BFloat16(), 2 * LANES)


def _block_of(n_rows: int) -> Any:
    """Compiled: `n_rows` rows of a product, as wide as two registers.

    Takes what is packed (for its type), and in `places` addresses and distances in bytes: of the first row of `a`,
    from row to row, from step to step; how many steps there are; of the packed columns; of the first row of `out`,
    from row to row; and how many columns `out` has, of which a block writes no more.
    """

    @compiled  # type: ignore[untyped-decorator]
    def block(context: Any, packed: Any, places: Any, adds: Any) -> Any:
        of_pairs = packed.dtype == types.uint32
        signature = types.void(packed, UniTuple(types.uintp, 8), types.boolean)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, a_row, a_step, n_steps, b, out, out_row, n_columns = unpack(builder, args[1])
            adds = args[2]
            before = builder.block
            loop, after = builder.append_basic_block("steps"), builder.append_basic_block("sums")
            rows = [builder.add(a, builder.mul(a_row, _I64(r))) for r in range(n_rows)]
            builder.branch(loop)

            builder.position_at_end(loop)
            step, a_at, b_at = (builder.phi(_I64) for _ in range(3))
            totals = [[builder.phi(_SUMS) for _ in range(2)] for _ in range(n_rows)]
            sums = _step_sums(builder, rows, a_at, b_at, totals, of_pairs)
            following = builder.add(step, _I64(1))
            for value, first, then in (
                (step, _I64(0), following),
                (a_at, _I64(0), builder.add(a_at, a_step)),
                (b_at, b, builder.add(b_at, _I64(4 * _WIDTH))),
                *(
                    (total, ir.Constant(_SUMS, None), new)
                    for pair, own in zip(totals, sums, strict=True)
                    for total, new in zip(pair, own, strict=True)
                ),
            ):
                value.add_incoming(first, before)
                value.add_incoming(then, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, n_steps), loop, after)

            builder.position_at_end(after)
            _store_sums(builder, sums, out, out_row, n_columns, adds)
            return context.get_dummy_value()

        return signature, generate

    return block


def _step_sums(builder: Any, rows: Any, a_at: Any, b_at: Any, totals: Any, of_pairs: bool) -> list[list[Any]]:
    """What each row's two registers of sums are after one more step; with `of_pairs` a step is two, of bfloat16."""
    kind = _PAIRS if of_pairs else _SUMS

    def load(address: Any, its_kind: Any) -> Any:
        return builder.load(builder.inttoptr(address, its_kind.as_pointer()), align=2 if of_pairs else 4)

    right = [load(builder.add(b_at, _I64(4 * LANES * half)), kind) for half in range(2)]
    sums = []
    for row, pair in zip(rows, totals, strict=True):
        left = splat(builder, load(builder.add(row, a_at), kind.element))
        sums.append(
            [_add_product(builder, total, left, half, of_pairs) for total, half in zip(pair, right, strict=True)]
        )
    return sums


def _add_product(builder: Any, total: Any, left: Any, right: Any, of_pairs: bool) -> Any:
    if not of_pairs:
        return fused(builder, left, right, total)
    pairs = [builder.bitcast(each, _NARROW) for each in (left, right)]
    return instruction(builder, "llvm.x86.avx512bf16.dpbf16ps.512", total, *pairs)


def splat(builder: Any, number: Any) -> Any:
    """A register of numbers that are all the same."""
    none = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    one = builder.insert_element(none, number, _I32(0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_I32, LANES), None))


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Registers a * b + c, fused where the processor does that."""
    return instruction(builder, f"llvm.fmuladd.v{a.type.count}f32", a, b, c)


def as_bfloat16(builder: Any, register: Any) -> Any:
    """Sixteen float32 numbers rounded to bfloat16."""
    kind = ir.VectorType(_BFloat16(), 16)
    narrow = instruction(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", register, gives=kind)
    return builder.bitcast(narrow, ir.VectorType(ir.IntType(16), 16))


def instruction(builder: Any, name: str, *values: Any, gives: Any = None) -> Any:
    """What LLVM's own function of that name gives, by default something of the type of the first value."""
    kind = ir.FunctionType(gives or values[0].type, [value.type for value in values])
    declared = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(declared, values)


def _store_sums(builder: Any, sums: Any, out: Any, out_row: Any, n_columns: Any, adds: Any) -> None:
    """Writes each row's first `n_columns` sums from the address `out` on, `out_row` bytes from row to row.

    With `adds` they are added to what is there.
    """
    flat = [
        (
            total,
            half,
            builder.inttoptr(
                builder.add(builder.add(out, builder.mul(out_row, _I64(r))), _I64(4 * LANES * half)), _SUMS.as_pointer()
            ),
        )
        for r, own in enumerate(sums)
        for half, total in enumerate(own)
    ]
    kind, align, nothing = f"v{LANES}f32.p0", _I32(4), ir.Constant(_SUMS, None)
    with builder.if_else(builder.icmp_unsigned(">=", n_columns, _I64(_WIDTH))) as (whole, partly):
        with whole, builder.if_else(adds) as (added, replaced):
            with added:
                for total, _, place in flat:
                    builder.store(builder.fadd(builder.load(place, align=4), total), place, align=4)
            with replaced:
                for total, _, place in flat:
                    builder.store(total, place, align=4)
        with partly:
            there, seen = (_masks(builder, n) for n in (n_columns, builder.select(adds, n_columns, _I64(0))))
            for total, half, place in flat:
                before = instruction(
                    builder, f"llvm.masked.load.{kind}", place, align, seen[half], nothing, gives=_SUMS
                )
                values = builder.fadd(before, total), place, align, there[half]
                instruction(builder, f"llvm.masked.store.{kind}", *values, gives=ir.VoidType())


def _masks(builder: Any, n: Any) -> list[Any]:
    """Which numbers of two registers are among the first `n`."""
    first = builder.insert_element(ir.Constant(_PAIRS, ir.Undefined), builder.trunc(n, _I32), _I32(0))
    limit = builder.shuffle_vector(first, first, ir.Constant(_PAIRS, None))
    return [
        builder.icmp_signed("<", ir.Constant(_PAIRS, list(range(begin, begin + LANES))), limit) for begin in (0, LANES)
    ]


_block_8, _block_4, _block_2, _block_1 = (_block_of(n_rows) for n_rows in (8, 4, 2, 1))


# --- Layouts ----------------------------------------------------------------------------------------------------------


def _pairs_of(n: int) -> Any:
    """Compiled: `n` pairs of 16 bits, by addresses."""

    @compiled  # type: ignore[untyped-decorator]
    def pair(context: Any, low: Any, high: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            halves = []
            for address in args[:2]:
                half = builder.load(builder.inttoptr(address, ir.VectorType(ir.IntType(16), n).as_pointer()), align=2)
                halves.append(builder.zext(half, ir.VectorType(_I32, n)))
            shifted = builder.shl(halves[1], ir.Constant(ir.VectorType(_I32, n), n * [16]))
            pairs = builder.or_(halves[0], shifted)
            builder.store(pairs, builder.inttoptr(args[2], pairs.type.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(*3 * [types.uintp]), generate

    return pair


_pair_8, _pair_32 = map(_pairs_of, (8, 32))


@by_type
def lay_out(x: Any, width: Any, packed: Any) -> Any:
    """Columns in strips of `width`, each a piece of memory, and of bfloat16 two rows in each other's company."""

    def of_float32(x: Any, width: Any, packed: Any) -> None:
        n_steps, n = x.shape
        for k in range(n_steps):
            for strip in range(-(-n // width)):
                begin = strip * width
                row, out = x[k, begin : begin + width], packed[strip, k]
                for j in range(len(row)):
                    out[j] = row[j]

    def of_pairs(x: Any, width: Any, packed: Any) -> None:
        n_rows, n = x.shape
        source, target = x.ctypes.data, packed.ctypes.data
        row, item, of_pair = np.uintp(x.strides[0]), np.uintp(x.itemsize), np.uintp(packed.itemsize)
        for k in range(n_rows // 2):
            low = source + np.uintp(2 * k) * row
            for strip in range(-(-n // width)):
                begin = strip * width
                place = target + np.uintp(strip * packed.strides[0] + k * packed.strides[1])
                at = low + np.uintp(begin) * item
                if min(width, n - begin) == 32:
                    _pair_32(at, at + row, place)
                    continue
                for j in range(0, min(width, n // 8 * 8 - begin), 8):
                    at = low + np.uintp(begin + j) * item
                    _pair_8(at, at + row, place + np.uintp(j) * of_pair)
        for j in range(n):  # what is left
            for k in range(n_rows // 2 if j < n // 8 * 8 else 0, (n_rows + 1) // 2):
                high = x[2 * k + 1, j] if 2 * k + 1 < n_rows else np.uint16(0)
                packed[j // width, k, j % width] = np.uint32(x[2 * k, j]) | (np.uint32(high) << np.uint32(16))

    def of_bits(x: Any, width: Any, packed: Any) -> None:
        lay_out(_widened(x), width, packed)

    if x.dtype == types.float32:
        return of_float32
    return of_pairs if HAS_DOTS else of_bits


@by_type
def _room_for(x: Any, n_rows: Any, width: Any) -> Any:
    """Memory for what is packed of `n_rows` rows; zeros are what columns that are not there give."""
    per_step, kind = (2, np.uint32) if x.dtype == types.uint16 and HAS_DOTS else (1, np.float32)

    def room(x: Any, n_rows: Any, width: Any) -> Any:
        return zeros((-(-x.shape[1] // width), -(-n_rows // per_step), width), kind)

    return room


@_jit
def _widened(x: Any) -> Any:
    """bfloat16 as float32."""
    bits = empty(x.shape, np.uint32)
    for i in range(len(x)):
        row, own = x[i], bits[i]
        for j in range(len(row)):
            own[j] = np.uint32(row[j]) << np.uint32(16)
    return numbers_of(bits)


@_jit
def _even(x: Any) -> Any:
    """The same with a column of zeros."""
    wider = zeros((len(x), x.shape[1] + 1), x.dtype)
    for i in range(len(x)):  # what would say that two shapes differ takes seconds to compile
        for j in range(x.shape[1]):
            wider[i, j] = x[i, j]
    return wider


# --- Products made here -----------------------------------------------------------------------------------------------


@_jit
def _sum_blocks(of_a: Any, packed: Any, of_packed: Any, of_out: Any, adds: Any) -> None:
    """All blocks of a product; strips of `a` have `_ROWS` rows.

    `of_a` has the address of `a` and distances in bytes, from strip to strip, from row to row, from step to step;
    `of_packed` an address, strips, their distance, and steps; `of_out` an address, rows and columns. Addresses, as to
    count who has an array takes as long as a small product.
    """
    a_at, a_strip, a_row, a_step = of_a
    b_at, n_strips, b_strip, n_steps = of_packed
    out_at, n_rows, n_columns = of_out
    out_row = np.uintp(4 * n_columns)
    for strip in range(n_strips):
        begin = strip * _WIDTH
        n_own = np.uintp(min(_WIDTH, n_columns - begin))
        b = b_at + np.uintp(strip * b_strip)
        i = 0
        while i < n_rows:
            own = a_at + np.uintp(i // _ROWS * a_strip + i % _ROWS * a_row)
            target = out_at + np.uintp(4 * begin) + np.uintp(i) * out_row
            places = own, np.uintp(a_row), np.uintp(a_step), np.uintp(n_steps), b, target, out_row, n_own
            if _ROWS == 8 and n_rows - i >= 8:
                _block_8(packed, places, adds)
                i += 8
            elif n_rows - i >= 4:
                _block_4(packed, places, adds)
                i += 4
            elif n_rows - i >= 2:
                _block_2(packed, places, adds)
                i += 2
            else:
                _block_1(packed, places, adds)
                i += 1


@_jit
def _multiply_rows(a: Any, row: Any, step: Any, packed: Any, out: Any) -> None:
    """Rows of `a` that begin `row` bytes apart, `step` bytes from step to step."""
    of_packed = packed.ctypes.data, len(packed), packed.strides[0], packed.shape[1]
    of_out = out.ctypes.data, len(out), out.shape[1]
    _sum_blocks((a.ctypes.data, _ROWS * row, row, step), packed, of_packed, of_out, _NO)


@by_type
def _multiply_packed(a: Any, packed: Any, out: Any) -> Any:
    per_step = 2 if packed.dtype == types.uint32 else 1

    def here(a: Any, packed: Any, out: Any) -> None:
        _multiply_rows(a, a.strides[0], per_step * a.itemsize, packed, out)

    def evenly(a: Any, packed: Any, out: Any) -> None:
        if a.shape[1] % 2:
            here_compiled(_even(a), packed, out)
        else:
            here_compiled(a, packed, out)

    def widened(a: Any, packed: Any, out: Any) -> None:
        here_compiled(_widened(a), packed, out)

    here_compiled = numba.njit(nogil=True, error_model="numpy")(here)
    if a.dtype == types.float32:
        return here
    return evenly if per_step == 2 else widened


@_jit
def pack(b: Any) -> Any:
    packed = _room_for(b, len(b), _WIDTH)
    lay_out(b, _WIDTH, packed)
    return packed


@_jit
def multiply(a: Any, packed: Any, out: Any) -> None:
    _multiply_packed(a, packed, out)


@_jit
def multiply_each(a: Any, packed: Any, out: Any) -> None:
    """Products (N, M, F) of float32 (N, M, K), without gaps, each with what is packed of its own (N, ...)."""
    a_at, b_at, out_at = a.ctypes.data, packed.ctypes.data, out.ctypes.data
    n, n_rows, n_columns = out.shape
    n_strips, n_steps, row = packed.shape[1], packed.shape[2], a.strides[1]
    for k in range(n):
        of_a = a_at + np.uintp(k * a.strides[0]), _ROWS * row, row, a.itemsize
        of_packed = b_at + np.uintp(k * packed.strides[0]), n_strips, packed.strides[1], n_steps
        of_out = out_at + np.uintp(k * out.strides[0]), n_rows, n_columns
        _sum_blocks(of_a, packed, of_packed, of_out, _NO)


@_jit
def multiply_transposed(a: Any, b: Any, out: Any, adds: Any) -> None:
    left, right = _room_for(a, min(_CHUNK, len(a)), _ROWS), _room_for(b, min(_CHUNK, len(b)), _WIDTH)
    per_step = -(-min(_CHUNK, len(a)) // left.shape[1])
    for begin in range(0, len(a), _CHUNK):
        end = min(begin + _CHUNK, len(a))
        lay_out(a[begin:end], _ROWS, left)
        lay_out(b[begin:end], _WIDTH, right)
        of_right = right.ctypes.data, len(right), right.strides[0], -(-(end - begin) // per_step)
        of_left, of_out = (
            (left.ctypes.data, left.strides[0], _NUMBER, 4 * _ROWS),
            (out.ctypes.data, len(out), out.shape[1]),
        )
        _sum_blocks(of_left, right, of_right, of_out, adds or begin > 0)
