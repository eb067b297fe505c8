"""Pickles, gone through by their opcodes before anything unpickles them: nothing in them is built or run here.

Python's unpickler believes what a pickle says: a few bytes make it take gigabytes for notes that it never makes, or
nest tuples until the processor's stack is full.
"""

import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstroke.utils.compiled import jit

# What the objects of a pickle may take: so many times its bytes, and so much more.
_TIMES, _MORE_BYTES = 20, 16_000_000
# Where they may be keys: the hash of a tuple goes through those in it, one call inside the other.
_MAX_TUPLES = 20_000

# Bytes after each opcode, as in pickletools: how many, or below 0 how to tell; _NONE for what is no opcode.
_LINE, _LENGTH_1, _LENGTH_4, _LENGTH_4U, _LENGTH_8, _TWO_LINES, _NONE = range(-1, -8, -1)
_ARGUMENTS = np.full(256, _NONE)
# Bytes that CPython takes for what an opcode makes, at most about that; its place on the stack is in it.
_COSTS = np.full(256, 16)
_BY_COST = {
    72: "EMPTY_LIST LIST BYTEARRAY8 TUPLE TUPLE1 TUPLE2 TUPLE3",
    100: "INT BININT BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 GLOBAL PERSID BINPERSID",
    160: "REDUCE NEWOBJ NEWOBJ_EX OBJ INST",
    240: "EMPTY_DICT DICT EMPTY_SET FROZENSET",
}
_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
for _opcode in pickletools.opcodes:
    _is_pair = _opcode.name in ("GLOBAL", "INST")
    _ARGUMENTS[ord(_opcode.code)] = 0 if _opcode.arg is None else _TWO_LINES if _is_pair else _opcode.arg.n
for _cost, _names in _BY_COST.items():
    _COSTS[[_CODES[name] for name in _names.split()]] = _cost
_IS_TUPLE, _IS_TABLE = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_IS_TUPLE[[_CODES[name] for name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")]] = True
_IS_TABLE[[_CODES[name] for name in ("DICT", "EMPTY_DICT", "EMPTY_SET", "FROZENSET")]] = True
_STOP, _PUT, _LONG_BINPUT = _CODES["STOP"], _CODES["PUT"], _CODES["LONG_BINPUT"]

_FINE, _CUT, _UNKNOWN, _NOTE = range(4)


@jit(steps=lambda data, at: data.size - at)
def _scan(data: Any, at: int) -> tuple[int, int, int, int, int]:
    """Goes through the pickle that begins at `at`, to its STOP or to what is wrong.

    Returns:
        (end, cost in bytes, tuples, dicts and sets, status).
    """
    size, begin = data.size, at
    cost = n_tuples = n_tables = 0
    while at < size:
        code = data[at]
        at += 1
        cost += _COSTS[code]
        n_tuples += _IS_TUPLE[code]
        n_tables += _IS_TABLE[code]
        if code == _STOP:
            return at, cost, n_tuples, n_tables, _FINE
        argument = _ARGUMENTS[code]
        if argument == _NONE:
            return at - 1, cost, n_tuples, n_tables, _UNKNOWN
        note = 0
        if argument >= 0:
            if code == _LONG_BINPUT and at + 4 <= size:
                for k in range(3, -1, -1):
                    note = note << 8 | int(data[at + k])
            length = argument
        elif argument in (_LINE, _TWO_LINES):
            end = at
            for _ in range(2 if argument == _TWO_LINES else 1):
                while end < size and data[end] != 10:
                    if code == _PUT and note < 1 << 40:
                        note = note * 10 + int(data[end]) - 48
                    end += 1
                end += 1
            length = end - at
            cost += 2 * length
        else:
            n_bytes = 1 if argument == _LENGTH_1 else 8 if argument == _LENGTH_8 else 4
            if at + n_bytes > size:
                return at, cost, n_tuples, n_tables, _CUT
            length = 0
            for k in range(min(n_bytes, 7) - 1, -1, -1):
                length = length << 8 | int(data[at + k])
            if n_bytes == 8 and data[at + 7]:
                return at, cost, n_tuples, n_tables, _CUT
            at += n_bytes
            cost += 2 * length
        # The unpickler makes room for as many notes as the highest number that one has.
        if note > at - begin:
            return at, cost, n_tuples, n_tables, _NOTE
        if length > size - at:
            return at, cost, n_tuples, n_tables, _CUT
        at += length
    return at, cost, n_tuples, n_tables, _CUT


def check(data: bytes | memoryview, at: int = 0) -> int:
    """Goes through the pickle that begins at `at`.

    Returns:
        Where it ends.

    Raises:
        ValueError: it is no pickle or cut off, or unpickling it would take far more memory than it has bytes.
    """
    array: NDArray[np.uint8] = np.frombuffer(data, np.uint8)
    end, cost, n_tuples, n_tables, status = _scan(array, at)
    if status == _UNKNOWN:
        raise ValueError(f"byte {end} of its pickle is no opcode")
    if status == _CUT:
        raise ValueError("its pickle is cut off")
    if status == _NOTE or cost > _TIMES * (end - at) + _MORE_BYTES:
        raise ValueError("its pickle claims far more memory than it has bytes")
    if n_tables and n_tuples > _MAX_TUPLES:
        raise ValueError(f"its pickle has {n_tuples} tuples; expected at most {_MAX_TUPLES}")
    return end
