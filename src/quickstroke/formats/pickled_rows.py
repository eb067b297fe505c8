"""Where the rows of sketch-rnn's drawings are in a pickle, by compiled code, without a Python object a drawing.

All drawings but the first are written by the same opcodes, with names noted down before. What these names mean is for
the unpickler to say, once; here each drawing is found to be written as the one before it.
"""

import pickletools
from typing import Any

import numpy as np

from quickstroke.formats.scanning import NOWHERE
from quickstroke.utils.compiled import jit

_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_MEMOIZE, _BINPUT, _LONG_BINPUT, _FRAME = (_CODES[name] for name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "FRAME"))
_BINGET, _LONG_BINGET, _BININT1, _BININT2 = (_CODES[name] for name in ("BINGET", "LONG_BINGET", "BININT1", "BININT2"))
_MARK, _APPEND, _APPENDS, _TUPLE = (_CODES[name] for name in ("MARK", "APPEND", "APPENDS", "TUPLE"))
_BUILD, _STOP = _CODES["BUILD"], _CODES["STOP"]
_SHORT_TEXTS = _CODES["SHORT_BINSTRING"], _CODES["SHORT_BINBYTES"]
_TEXTS = _CODES["BINSTRING"], _CODES["BINBYTES"]
# Of a drawing, but for what notes something down: _reconstruct(ndarray, (0,), b"b"), then its state: 1, (rows, 3), the
# dtype, no Fortran order, bytes. Opcodes that have something after them are below 0.
_NOTED, _NUMBER, _ROWS = -1, -2, -3
_KINDS = {**_CODES, "noted": _NOTED, "number": _NUMBER, "rows": _ROWS}
_OPCODES = (
    "noted noted number TUPLE1 noted TUPLE3 REDUCE MARK number number number TUPLE2 noted NEWFALSE rows TUPLE BUILD"
)
_DRAWING = np.array([_KINDS[name] for name in _OPCODES.split()])
N_NOTED = 4
# Of the numbers, the second but last is how many rows there are.
_NUMBERS = np.array([0, 1, -1, 3])
# Bytes after the pickle, so that no opcode has to be looked at whether it is the last one.
N_MORE_BYTES = 16


@jit()
def _number(data: Any, at: Any, n: Any) -> Any:
    value: Any = 0
    for k in range(n):
        value |= np.int64(data[at + k]) << (8 * k)
    return value


@jit()
def past_notes(data: Any, at: Any, noted: Any) -> Any:
    """The place after opcodes that note down what is there, under no number that is `noted`, or begin a frame."""
    while True:
        code = data[at]
        if code == _MEMOIZE and noted[N_NOTED]:
            at += 1
        elif code in (_BINPUT, _LONG_BINPUT) and not noted[N_NOTED]:
            n = 1 if code == _BINPUT else 4
            number = _number(data, at + 1, n)
            for k in range(N_NOTED):
                if number == noted[k]:
                    return NOWHERE
            at += 1 + n
        elif code == _FRAME:
            length = _number(data, at + 1, 8)
            if length < 0 or length > len(data) - N_MORE_BYTES - at - 9:
                return NOWHERE
            at += 9
        else:
            return at


@jit()
def read_drawing(data: Any, at: Any, noted: Any) -> tuple[int, int, int]:
    """Reads the opcodes of a drawing.

    Args:
        data: uint8, a pickle that is sound and N_MORE_BYTES more.
        at: where the drawing begins.
        noted: int64 (N_NOTED + 1,), the numbers of what was noted down before, of which those below 0 it gets from
            here; and whether all notes are made by MEMOIZE, which chooses a number itself that is free, or none.

    Returns:
        (where the drawing ends, or NOWHERE if it is written otherwise; where its rows begin, and how many they are).
    """
    i_noted = i_number = n = begin = 0
    for op in range(len(_DRAWING)):
        code = data[at]
        if code in (_MEMOIZE, _BINPUT, _LONG_BINPUT, _FRAME):
            at = past_notes(data, at, noted)
            if at == NOWHERE:
                return NOWHERE, 0, 0
            code = data[at]
        if at >= len(data) - N_MORE_BYTES:
            return NOWHERE, 0, 0
        if _DRAWING[op] >= 0:
            if code != _DRAWING[op]:
                return NOWHERE, 0, 0
            at += 1
        elif _DRAWING[op] == _ROWS:
            is_short = code == _SHORT_TEXTS[0] or code == _SHORT_TEXTS[1]
            n_bytes = _number(data, at + 1, 1 if is_short else 4)
            begin = at + (2 if is_short else 5)
            at = begin + n_bytes
            is_text = is_short or code == _TEXTS[0] or code == _TEXTS[1]
            if not is_text or n == 0 or n_bytes != 6 * n or at > len(data) - N_MORE_BYTES:
                return NOWHERE, 0, 0
        elif _DRAWING[op] == _NUMBER:
            if code != _BININT1 and code != _BININT2:
                return NOWHERE, 0, 0
            size = 1 if code == _BININT1 else 2
            number = _number(data, at + 1, size)
            if _NUMBERS[i_number] < 0:
                n = number
            elif number != _NUMBERS[i_number]:
                return NOWHERE, 0, 0
            i_number += 1
            at += 1 + size
        else:
            if code != _BINGET and code != _LONG_BINGET:
                return NOWHERE, 0, 0
            size = 1 if code == _BINGET else 4
            number = _number(data, at + 1, size)
            if noted[i_noted] < 0:
                noted[i_noted] = number
            elif number != noted[i_noted]:
                return NOWHERE, 0, 0
            i_noted += 1
            at += 1 + size
    return at, begin, n


@jit(_nrt=False)  # nothing is allocated
def read_drawings(data: Any, at: Any, noted: Any, begins: Any, counts: Any) -> Any:
    """Reads all drawings but the first two, to the end of the list that they are in, the array that has it, the pickle.

    Args:
        data, at, noted: as of `read_drawing`.
        begins, counts: int64 (N,); get where the rows of each but the first two begin, and how many they are.

    Returns:
        Whether there are N drawings, each written as `noted` says.
    """
    n, end, is_marked = 2, len(data) - N_MORE_BYTES, True
    while True:
        at = past_notes(data, at, noted)
        if at == NOWHERE or at >= end:
            return False
        code = data[at]
        if code == _APPENDS and is_marked:
            is_marked = False
            at += 1
        elif code == _MARK and not is_marked:
            is_marked = True
            at += 1
        elif code == _TUPLE and not is_marked:
            break
        else:
            if n == len(begins):
                return False
            at, begins[n], counts[n] = read_drawing(data, at, noted)
            if at == NOWHERE or not (is_marked or data[at] == _APPEND):
                return False
            at += not is_marked
            n += 1
    at = past_notes(data, at + 1, noted)
    if at == NOWHERE or data[at] != _BUILD:
        return False
    at = past_notes(data, at + 1, noted)
    return at == end - 1 and data[at] == _STOP and n == len(begins)
