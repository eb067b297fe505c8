"""Strokes as Google and most programs write them, from text straight into a record of the binary format.

Sixty-four bytes at a time are compared with what may be there, which gives a bit for each byte. What these bits say of
commas, digits and brackets is then true of all numbers of a row at once.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from quickstroke.formats.scanning import COMMA, LEFT, MAX_STROKES, NINE, NOWHERE, RIGHT, SPACE, ZERO
from quickstroke.utils.compiled import jit

_WINDOW = 64
# What may be looked at from where a row begins or goes on: a window, and a number or brackets after it.
_REACH = _WINDOW + 8
# Numbers that are read without asking whether there are so many: what is written too much is overwritten.
_AT_A_TIME = 3
# Between x and y, and between strokes: without and with a space after the comma, the lowest byte first.
_X_Y, _Y_X, _CLOSE = (int.from_bytes(text, "little") for text in (b"],[", b"]],[[", b"]]]"))
_X_SPACE_Y, _Y_SPACE_X = (int.from_bytes(text, "little") for text in (b"], [", b"]], [["))

_TWO, _THREE, _FIVE, _SIX = b"2356"

_compiled: Any = intrinsic  # its own type says that calls never return


@_compiled(prefer_literal=True)  # type: ignore[untyped-decorator]
def _among(context: Any, data: Any, at: Any, low: Any, high: Any) -> Any:
    """Compiled: a bit for each byte of the window from `at` on, which says whether it is from `low` to `high`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), _WINDOW)
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())
        found = builder.load(place, align=1)
        low, high = (ir.Constant(vector, _WINDOW * [kind.literal_value]) for kind in signature.args[2:])
        inside = builder.icmp_unsigned("<=", builder.sub(found, low), builder.sub(high, low))
        return builder.bitcast(inside, ir.IntType(64))

    return types.uint64(data, types.uint64, low, high), generate


@_compiled  # type: ignore[untyped-decorator]
def _n_ones(context: Any, bits: Any) -> Any:
    """Compiled: how many bits are one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


@jit()
def bytes_at(data: Any, at: Any, n: Any) -> Any:
    """The `n` bytes from `at` (uint64) on, the first one lowest."""
    word = np.uint64(0)
    for k in range(n):
        word |= np.uint64(data[at + np.uint64(k)]) << np.uint64(8 * k)
    return word


@jit()
def _n_below(bits: Any) -> Any:
    """How many zeros are below the lowest one."""
    return _n_ones(~bits & (bits - np.uint64(1)))


@jit()
def write_columns(data: Any, begin: Any, out: Any, out_begin: Any) -> tuple[Any, Any, Any]:
    """Reads strokes [[x..],[y..]] of whole numbers from 0 to 255 and writes them as a record has them.

    Args:
        data: uint8, whole lines.
        begin: where the strokes begin in `data`.
        out: uint8; gets as many bytes as the strokes have at most, from `out_begin` on.

    Returns:
        (the place after the strokes, where they end in `out`, how many they are); the first is NOWHERE for whatever
        else there is, and near the end of `data`.
    """
    u = np.uint64
    none, one, eight = u(0), u(1), u(8)
    at, stroke, to = u(begin + 3), u(out_begin), u(out_begin + 2)
    limit = u(max(len(data) - _REACH, 0))
    if at > limit or data[begin] != LEFT or data[begin + 1] != LEFT or data[begin + 2] != LEFT:
        return NOWHERE, 0, 0
    space = u(data[at + one + _n_below(_among(data, at, COMMA, COMMA))] == SPACE)
    x_y, y_x = (u(_X_SPACE_Y), u(_Y_SPACE_X)) if space else (u(_X_Y), u(_Y_X))
    n = n_strokes = none  # numbers of the row
    n_x, is_y = none, False
    while at <= limit:
        digits, zeros = _among(data, at, ZERO, NINE), _among(data, at, ZERO, ZERO)
        commas, closes = _among(data, at, COMMA, COMMA), _among(data, at, RIGHT, RIGHT)
        last = closes & (none - closes)
        inside = last | (last - one)  # everything where the row goes on
        ends = (commas | last) & inside
        spaces = _among(data, at, SPACE, SPACE) & (commas << space) if space else none
        begins = (ends << (one + space) | one) & inside
        more = digits >> one
        is_wrong = (~digits & inside) ^ (ends | (spaces & inside))
        three = more & digits >> u(2)
        is_wrong |= begins & (~digits | (more & zeros) | (three & digits >> u(3)))
        fives, above_5 = _among(data, at, _FIVE, _FIVE), _among(data, at, _SIX, NINE)
        above_55 = above_5 >> one | (fives >> one & above_5 >> u(2))
        is_wrong |= begins & three & (_among(data, at, _THREE, NINE) | (_among(data, at, _TWO, _TWO) & above_55))
        if is_wrong or ends == none:
            break
        rest, number = ends, none
        count, k, end = _n_ones(ends), none, none
        while k < count:
            for j in range(_AT_A_TIME):
                end = _n_below(rest)
                rest &= rest - one
                # Its digits, the last one highest; their sum is in the highest byte.
                text = (bytes_at(data, at + number, 4) ^ u(0x30303030)) << (u(32) - eight * (end - number) & u(31))
                out[to + k + u(j)] = text * u(100 << 16 | 10 << 8 | 1) >> u(24)
                number = end + one + space
            k += u(_AT_A_TIME)
        n, to = n + count, to + count
        if not last:
            above = u(_WINDOW)
            while not ends >> (above - one) & one:
                above -= one
            at += above + space
            continue
        at += _n_below(last)
        follows = bytes_at(data, at, 8)
        if not is_y:
            if follows & ((one << u(24) + eight * space) - one) != x_y:
                break
            n_x, n, is_y = n, none, True
            at += u(3) + space
            continue
        if n != n_x or n > u(65535) or n_strokes == u(MAX_STROKES):
            break
        out[stroke], out[stroke + one] = n & u(255), n >> eight
        n_strokes += one
        if follows & ((one << u(40) + eight * space) - one) != y_x:
            if follows & u(0xFFFFFF) != u(_CLOSE):
                break
            return np.int64(at) + 3, np.int64(to), np.int64(n_strokes)
        stroke, to, n, is_y = to, to + u(2), none, False
        at += u(5) + space
    return NOWHERE, 0, 0
