"""Matrix products of bfloat16 for compiled code by the processor's tiles (AMX), of sixteen rows of 64 bytes each.

MKL multiplies by tiles, too, but lays out weights anew for every product, which for a step of an LSTM takes longer than
the product does.

Four tiles hold the sums of a block of 32 rows and 32 columns, two are of the left matrix and two of the right one. What
is multiplied in one go are 32 numbers of each row and column. Of the right matrix two rows lie in each other's company,
as `vectors.lay_out` leaves them.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, types

from quickstroke.kernels.arrays import compiled, unpack, zeros
from quickstroke.kernels.vectors import HAS_DOTS, UniTuple, instruction, lay_out, on_stack
from quickstroke.utils.compiled import jit
from quickstroke.utils.system import lends_tiles

_jit = jit(error_model="numpy")

# `HAS_DOTS` since vectors lay out what tiles multiply.
ARE_THERE = HAS_DOTS and bool(get_host_cpu_features().get("amx-bf16")) and lends_tiles()
# Numbers of a row or a column that are multiplied in one go.
STEP = 32
_I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
# Rows of a tile, and bytes of each of them; rows and columns of a block.
_ROWS, _ROW, _BLOCK = 16, 64, 32
# The tiles of both matrices; 0 to 3 are those of sums, row by row.
_LEFT, _RIGHT = (4, 5), (6, 7)
# As arguments: each literal would be a type of its own, for which a function is compiled once more.
_NOTHING, _ONE_ROW, _ONE_STRIP, _NO = np.int64(0), np.int64(_ROW), np.int64(_BLOCK), np.bool_(False)
# So many rows of transposed products at a time: what is laid out of them stays in a cache.
_CHUNK: Any = np.int64(9 * STEP)


def _do(builder: Any, name: str, *values: Any) -> None:
    """An instruction of the tiles, which Python's numbers are."""
    given = [_I8(value) if isinstance(value, int) else value for value in values]
    instruction(builder, f"llvm.x86.{name}", *given, gives=ir.VoidType())


def _at(builder: Any, address: Any, offset: int = 0) -> Any:
    return builder.inttoptr(builder.add(address, _I64(offset)), _I8.as_pointer())


@compiled  # type: ignore[untyped-decorator]
def _configure(context: Any, n_rows: Any, n_columns: Any) -> Any:
    """Compiled: makes the tiles those of a block of so many rows and columns, 1 to 32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def halves(n: Any) -> list[Any]:
            first = builder.select(builder.icmp_signed("<", n, _I64(_ROWS)), n, _I64(_ROWS))
            return [first, builder.sub(n, first)]

        down, across = map(halves, args)
        shapes = [(height, width) for height in down for width in across]  # of numbers of four bytes, as pairs are
        shapes += [(height, _I64(_ROWS)) for height in down] + [(_I64(_ROWS), width) for width in across]
        kind = ir.ArrayType(_I8, 64)
        place = builder.ptrtoint(on_stack(builder, ir.Constant(kind, None)), _I64)
        builder.store(_I8(1), _at(builder, place))
        for tile, (height, width) in enumerate(shapes):
            is_there = builder.and_(builder.icmp_signed(">", height, _I64(0)), builder.icmp_signed(">", width, _I64(0)))
            n_bytes = builder.trunc(builder.mul(width, _I64(4)), _I16)
            width_at = builder.bitcast(_at(builder, place, 16 + 2 * tile), _I16.as_pointer())
            builder.store(builder.select(is_there, n_bytes, _I16(0)), width_at)
            height = builder.trunc(height, _I8)
            builder.store(builder.select(is_there, height, _I8(0)), _at(builder, place, 48 + tile))
        _do(builder, "ldtilecfg", _at(builder, place))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@compiled  # type: ignore[untyped-decorator]
def _release(context: Any) -> Any:
    """Compiled: lets go of the tiles, so that the system has none to keep."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _do(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@compiled  # type: ignore[untyped-decorator]
def _block(context: Any, places: Any, is_low: Any, is_right: Any, adds: Any) -> Any:
    """Compiled: a block of a product, with more than 16 rows where `is_low` and columns where `is_right`.

    Takes in `places` addresses and distances in bytes: of the left matrix, from row to row, from step to step, and to
    its lower tile; of the right one; how many steps there are; of the sums, and from row to row.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, a_row, a_step, a_low, b, n_steps, out, out_row = unpack(builder, args[0])
        is_low, is_right, adds = args[1:]
        low = builder.add(out, builder.mul(out_row, _I64(_ROWS)))
        sums_at = [_at(builder, at, offset) for at in (out, low) for offset in (0, _ROW)]
        are_there = ir.IntType(1)(1), is_right, is_low, builder.and_(is_low, is_right)

        def each_sums(name: str, has_place: bool) -> None:
            for tile, is_there in enumerate(are_there):
                with builder.if_then(is_there):
                    _do(builder, name, tile, *((sums_at[tile], out_row) if has_place else ()))

        with builder.if_else(adds) as (added, replaced):
            with added:
                each_sums("tileloadd64", True)
            with replaced:
                each_sums("tilezero", False)
        with cgutils.for_range(builder, n_steps) as loop:
            left = builder.add(a, builder.mul(loop.index, a_step))
            right = builder.add(b, builder.mul(loop.index, _I64(STEP * _BLOCK * 2)))
            width = _I64(2 * _ROW)
            _do(builder, "tileloadd64", _LEFT[0], _at(builder, left), a_row)
            _do(builder, "tileloadd64", _RIGHT[0], _at(builder, right), width)
            _do(builder, "tdpbf16ps", 0, _LEFT[0], _RIGHT[0])
            with builder.if_then(is_right):
                _do(builder, "tileloadd64", _RIGHT[1], _at(builder, right, _ROW), width)
                _do(builder, "tdpbf16ps", 1, _LEFT[0], _RIGHT[1])
            with builder.if_then(is_low):
                _do(builder, "tileloadd64", _LEFT[1], _at(builder, builder.add(left, a_low)), a_row)
                _do(builder, "tdpbf16ps", 2, _LEFT[1], _RIGHT[0])
                with builder.if_then(is_right):
                    _do(builder, "tdpbf16ps", 3, _LEFT[1], _RIGHT[1])
        each_sums("tilestored64", True)
        return context.get_dummy_value()

    return types.void(UniTuple(types.uintp, 8), types.boolean, types.boolean, types.boolean), generate


@compiled  # type: ignore[untyped-decorator]
def _turn(context: Any, places: Any) -> Any:
    """Compiled: a tile of what is given transposed, of up to 32 rows and 16 columns.

    Takes the address of these, the distance in bytes from row to row, how many rows and columns there are, beyond which
    all is zero, and the address of the tile.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, row, n_rows, n_columns, target = unpack(builder, args[0])
        halves, pairs = ir.VectorType(_I16, _ROWS), ir.VectorType(_I32, _ROWS)
        nothing, mask_of = ir.Constant(halves, None), ir.VectorType(ir.IntType(1), _ROWS)
        columns = builder.sub(builder.shl(_I32(1), builder.trunc(n_columns, _I32)), _I32(1))

        def load(r: int) -> Any:
            is_there = builder.select(builder.icmp_unsigned("<", _I64(r), n_rows), columns, _I32(0))
            mask = builder.bitcast(builder.trunc(is_there, _I16), mask_of)
            place = builder.inttoptr(builder.add(source, builder.mul(row, _I64(r))), halves.as_pointer())
            values = instruction(builder, "llvm.masked.load.v16i16.p0", place, _I32(2), mask, nothing, gives=halves)
            return builder.zext(values, pairs)

        rows = [
            builder.or_(load(r), builder.shl(load(r + 1), ir.Constant(pairs, _ROWS * [16])))
            for r in range(0, 2 * _ROWS, 2)
        ]
        for distance in (8, 4, 2, 1):  # squares of that side change places
            lanes = [(lane, bool(lane & distance)) for lane in range(_ROWS)]
            above = [lane - distance + _ROWS if is_far else lane for lane, is_far in lanes]
            below = [lane + _ROWS if is_far else lane + distance for lane, is_far in lanes]
            for r in range(_ROWS):
                if not r & distance:
                    both = rows[r], rows[r + distance]
                    rows[r], rows[r + distance] = (
                        builder.shuffle_vector(*both, ir.Constant(pairs, order)) for order in (above, below)
                    )
        for r, own in enumerate(rows):
            place = builder.inttoptr(builder.add(target, _I64(_ROW * r)), pairs.as_pointer())
            builder.store(own, place, align=4)
        return context.get_dummy_value()

    return types.void(UniTuple(types.uintp, 5)), generate


@_jit
def _blocks(of_a: Any, packed: Any, n_steps: Any, of_out: Any, adds: Any) -> None:
    """All blocks of a product.

    `of_a` has the address of the left matrix and distances in bytes, as `_block` takes them and from block to block,
    `of_out` an address, the distance from row to row, rows and columns.
    """
    a_at, a_row, a_step, a_low, a_block = of_a
    out_at, out_row, n_rows, n_columns = of_out
    b_at, b_strip = packed.ctypes.data, packed.strides[0]
    rows_before, columns_before = 0, 0
    for i in range(0, n_rows, _BLOCK):
        own_rows = min(n_rows - i, _BLOCK)
        for j in range(0, n_columns, _BLOCK):
            own_columns = min(n_columns - j, _BLOCK)
            if own_rows != rows_before or own_columns != columns_before:
                _configure(own_rows, own_columns)
                rows_before, columns_before = own_rows, own_columns
            own, b = a_at + np.uintp(i // _BLOCK * a_block), b_at + np.uintp(j // _BLOCK * b_strip)
            target = out_at + np.uintp(i * out_row + 4 * j)
            of_left = own, np.uintp(a_row), np.uintp(a_step), np.uintp(a_low)
            _block(
                (*of_left, b, np.uintp(n_steps), target, np.uintp(out_row)), own_rows > _ROWS, own_columns > _ROWS, adds
            )
    _release()


@_jit
def _room(n_columns: Any, n_rows: Any) -> Any:
    """Zeros for strips of so many columns and rows, as `lay_out` fills them, from where a line of a cache begins: a row
    of a tile is one."""
    n_strips, n_pairs = -(-n_columns // _BLOCK), -(-n_rows // STEP) * _ROWS
    n = n_strips * n_pairs * _BLOCK
    flat = zeros(n + _ROW // 4, np.uint32)
    skip = -flat.ctypes.data % _ROW // 4
    return flat[skip : skip + n].reshape(n_strips, n_pairs, _BLOCK)


@_jit
def pack(b: Any) -> Any:
    packed = _room(b.shape[1], len(b))
    lay_out(b, _BLOCK, packed)
    return packed


@_jit
def multiply(a: Any, packed: Any, out: Any) -> None:
    if a.shape[1] % STEP:
        left = zeros((len(a), -(-a.shape[1] // STEP) * STEP), np.uint16)
        for i in range(len(a)):
            for j in range(a.shape[1]):
                left[i, j] = a[i, j]
    else:
        left = a
    row = left.strides[0]
    of_left = left.ctypes.data, row, _ONE_ROW, _ROWS * row, _BLOCK * row
    _blocks(of_left, packed, left.shape[1] // STEP, (out.ctypes.data, out.strides[0], *out.shape), _NO)


@_jit
def multiply_transposed(a: Any, b: Any, out: Any, adds: Any) -> None:
    n_rows, n_columns = out.shape
    left = _room(_ONE_STRIP, _CHUNK)  # the two tiles of each step
    right = _room(n_columns, min(len(a), _CHUNK))
    a_at, a_row, left_at, tile = a.ctypes.data, a.strides[0], left.ctypes.data, _ROWS * _ONE_ROW
    of_left = left_at, _ONE_ROW, 2 * tile, tile, _NOTHING
    for begin in range(0, len(a), _CHUNK):
        n = min(len(a) - begin, _CHUNK)
        n_steps = -(-n // STEP)
        if n % STEP:
            right[:] = 0
        lay_out(b[begin : begin + n], _BLOCK, right)
        for i in range(0, n_rows, _BLOCK):
            n_own = min(n_rows - i, _BLOCK)
            for k in range(2 * n_steps):
                row, first = k // 2 * STEP, k % 2 * _ROWS
                if first < n_own:
                    source = a_at + np.uintp((begin + row) * a_row + (i + first) * a.itemsize)
                    shape = np.uintp(min(n - row, STEP)), np.uintp(min(n_own - first, _ROWS))
                    _turn((source, np.uintp(a_row), *shape, left_at + np.uintp(k * tile)))
            of_out = out.ctypes.data + np.uintp(i * out.strides[0]), out.strides[0], n_own, n_columns
            _blocks(of_left, right, n_steps, of_out, adds or begin > 0)
