"""Lines of the text formats become records of the binary format, by compiled code, without a Python object a drawing.

It takes the lines that `scanning` can read. Countries and times are looked at, but not kept: a dataset has none.
"""

from typing import Any

import numba
import numpy as np

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES
from quickstroke.drawings.simplification import FEW_LOOKS, MAX_LOOKS, simplify_points
from quickstroke.formats.columns import bytes_at, write_columns
from quickstroke.formats.scanning import (
    CLOSE,
    COLON,
    COLUMNS,
    COMMA,
    CR,
    IS_PLAIN,
    LF,
    MAX_STROKES,
    NAMES,
    NOWHERE,
    OPEN,
    POINTS,
    QUOTE,
    UNKNOWN,
    is_time,
    key_of,
    layout_of,
    number,
    past,
    past_spaces,
    past_text,
    points_of,
    strokes,
)
from quickstroke.utils.compiled import jit

# Where nothing is allocated nobody has to count who refers to an array, which would take a quarter of the time.
_jit = jit(_nrt=False)

# What some lines are: records of one word, or something else; or what is not there in the end, a drawing to simplify.
RECORDS, OTHER, _RAW = range(3)
# Columns of `runs`: what lines are, how many were before them, where the first one begins and ends, where the word
# begins and ends, how many records they have, of how many of these strokes were points, and where these end in `out`.
_WHAT, _LINE, _BEGINS, _ENDS, _WORD_BEGINS, _WORD_ENDS, _N, _N_POINTS, _OUT = range(9)
N_COLUMNS = 9

_WORD, _COUNTRY, _TIME, _RECOGNIZED, _KEY, _DRAWING = range(6)
_NAMES = np.frombuffer("".join(name.ljust(16) for name in NAMES).encode(), np.uint8).reshape(len(NAMES), 16)
_LENGTHS = np.array([len(name) for name in NAMES])
# Each name with the quote after it, and which bits of as many bytes these are.
_TEXTS, _MASKS = (
    np.frombuffer(b"".join(text.ljust(16, b"\0") for text in texts), "<u8").reshape(len(NAMES), 2)
    for texts in ([f'{name}"'.encode() for name in NAMES], [b"\xff" * (len(name) + 1) for name in NAMES])
)
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
# Of `Found.facts`.
_BEGIN, _END, _KEY_BITS, _IS_RECOGNIZED, _N_STROKES, _WRITTEN, _LAYOUT = range(7)


# --- Records ----------------------------------------------------------------------------------------------------------


@jit()
def _write_head(key_bits: Any, is_recognized: Any, n_strokes: Any, out: Any, at: Any) -> Any:
    """Writes what a record begins with; the place after it."""
    for b in range(8):
        out[at + b] = key_bits >> (8 * b) & 255
    out[at + 8] = out[at + 9] = 90  # ZZ
    out[at + 10] = is_recognized
    for b in range(4):
        out[at + 11 + b] = 0
    out[at + 15], out[at + 16] = n_strokes & 255, n_strokes >> 8
    return at + 17


@jit()
def _write_simplified(found: Any, layout: Any, out: Any, at: Any) -> Any:
    """Writes a record of two numbers a point; where it ends."""
    numbers, row_ends, stroke_ends = found.numbers, found.row_ends, found.stroke_ends
    key_bits, is_recognized, n_strokes = found.facts[_KEY_BITS], found.facts[_IS_RECOGNIZED], found.facts[_N_STROKES]
    at = _write_head(key_bits, is_recognized, n_strokes, out, at)
    begin = 0
    for stroke in range(n_strokes):
        end = row_ends[stroke_ends[stroke] - 1]
        n = (end - begin) // 2
        if n > 65535:
            return NOWHERE
        out[at], out[at + 1] = n & 255, n >> 8
        at += 2
        step, y = (1, n) if layout == COLUMNS else (2, 1)
        is_wrong: Any = False
        for half in range(2):
            first = begin + half * y
            values, target = numbers[first : first + step * (n - 1) + 1 : step], out[at : at + n]
            for i in range(n):
                whole = np.int64(values[i])
                is_wrong |= (whole < 0) | (whole > 255) | (whole != values[i])
                target[i] = whole
            at += n
        if is_wrong:
            return NOWHERE
        begin = end
    return at


@jit()
def _write_raw(found: Any, layout: Any, max_looks: Any, out: Any, begin: Any, most_bytes: Any) -> tuple[int, int]:
    """Simplifies a drawing and writes its record; what it is then, and where the record ends."""
    points, offsets = points_of(found, layout_of(found, layout)[0], 3)
    kept, ends = simplify_points(points, offsets, max_looks)
    key_bits, is_recognized, n_strokes = found.facts[_KEY_BITS], found.facts[_IS_RECOGNIZED], found.facts[_N_STROKES]
    if len(kept) == 0 or 17 + 2 * (n_strokes + len(kept)) > most_bytes:
        return OTHER, begin
    at = _write_head(key_bits, is_recognized, n_strokes, out, begin)
    for stroke in range(n_strokes):
        first, n = ends[stroke], ends[stroke + 1] - ends[stroke]
        if n > 65535:
            return OTHER, begin
        out[at], out[at + 1] = n & 255, n >> 8
        at += 2
        for i in range(n):
            out[at + i], out[at + n + i] = kept[first + i, 0], kept[first + i, 1]
        at += 2 * n
    return RECORDS, at


@jit()
def _read_strokes(data: Any, at: Any, layout: Any, facts: Any, found: Any, out: Any, to: Any) -> Any:
    """Reads strokes, into the record at `to` where that is simple, else into `found`; the place after them."""
    facts[_WRITTEN] = 0
    if layout != POINTS:
        end, written, n_strokes = write_columns(data, at, out, to + 17)
        if end != NOWHERE:
            facts[_WRITTEN], facts[_N_STROKES], facts[_LAYOUT] = written, n_strokes, COLUMNS
            return end
    return strokes(data, at, found)


@_jit
def _write(begin: Any, end: Any, layout: Any, facts: Any, found: Any, out: Any, at: Any) -> tuple[int, int]:
    """Writes the record of a line that was read to `end`; what the line is, and where the record ends."""
    if end == NOWHERE or end + 1 - begin > MAX_DRAWING_BYTES:
        return OTHER, at
    if facts[_WRITTEN]:
        _write_head(facts[_KEY_BITS], facts[_IS_RECOGNIZED], facts[_N_STROKES], out, at)
        return RECORDS, facts[_WRITTEN]
    layout, size = layout_of(found, layout)
    facts[_LAYOUT] = layout
    if size == 3:
        return _RAW, at
    end = _write_simplified(found, layout, out, at) if size == 2 else NOWHERE
    return (OTHER, at) if end == NOWHERE else (RECORDS, end)


# --- ndjson -----------------------------------------------------------------------------------------------------------


@jit()
def _name(data: Any, at: Any, expected: Any) -> tuple[int, int]:
    """Which of the names begins at `at`, most likely the `expected` one, and the place after its quote."""
    if at + 16 <= len(data):
        first, second = bytes_at(data, np.uint64(at), 8), bytes_at(data, np.uint64(at + 8), 8)
        is_as_expected = first & _MASKS[expected, 0] == _TEXTS[expected, 0]
        if is_as_expected and second & _MASKS[expected, 1] == _TEXTS[expected, 1]:
            return expected, at + _LENGTHS[expected] + 1
    end = past_text(data, at)
    for name in range(len(_LENGTHS)):
        if past(_NAMES[name, : _LENGTHS[name]], data, at) == end - 1:
            return name, end
    return UNKNOWN, end


@jit()
def _past_value(data: Any, at: Any) -> Any:
    """The place after a text, a number, true, false or null."""
    if data[at] == QUOTE:
        return past_text(data, at + 1)
    if data[at] == _TRUE[0]:
        return past(_TRUE, data, at)
    if data[at] == _FALSE[0]:
        return past(_FALSE, data, at)
    if data[at] == _NULL[0]:
        return past(_NULL, data, at)
    return number(data, at)[1]


@jit()
def _read_value(data: Any, at: Any, name: Any, facts: Any) -> Any:
    """Reads the value of a name that is not `drawing`; the place after it."""
    end = _past_value(data, at)
    is_text, is_null = data[at] == QUOTE, data[at] == _NULL[0]
    if end == NOWHERE:
        is_right = False
    elif name == _WORD:
        facts[_BEGIN], facts[_END] = at + 1, end - 1
        is_right = is_text
    elif name == _KEY:
        key, is_right = key_of(data, at + is_text, end - is_text)
        facts[_KEY_BITS] = key
    elif name == _RECOGNIZED:
        facts[_IS_RECOGNIZED] = data[at] == _TRUE[0]
        is_right = data[at] == _TRUE[0] or data[at] == _FALSE[0]
    elif name == _TIME:
        is_right = is_null or (is_text and is_time(data, at + 1, end - 1))
    else:
        is_right = name == UNKNOWN or is_text or is_null
    return end if is_right else NOWHERE


@_jit
def _read_object(data: Any, at: Any, columns: Any, layout: Any, facts: Any, found: Any, out: Any, to: Any) -> Any:
    """Reads the JSON object of the line from `at` on; the place of the line's end. The record is to be at `to`.

    `columns` are none here.
    """
    facts[_BEGIN] = facts[_END] = facts[_KEY_BITS] = facts[_N_STROKES] = seen = expected = 0
    facts[_IS_RECOGNIZED] = 1
    at = past_spaces(data, at)
    if data[at] != OPEN:
        return NOWHERE
    while True:
        at = past_spaces(data, at + 1)
        if data[at] != QUOTE:
            return NOWHERE
        name, at = _name(data, at + 1, expected)
        expected = (name + 1) % UNKNOWN
        if at == NOWHERE or (name != UNKNOWN and seen >> name & 1):
            return NOWHERE
        seen |= 1 << name
        at = past_spaces(data, at)
        if data[at] != COLON:
            return NOWHERE
        at = past_spaces(data, at + 1)
        is_drawing = name == _DRAWING
        at = (
            _read_strokes(data, at, layout, facts, found, out, to) if is_drawing else _read_value(data, at, name, facts)
        )
        if at == NOWHERE:
            return NOWHERE
        at = past_spaces(data, at)
        if data[at] != COMMA:
            break
    if data[at] != CLOSE or facts[_N_STROKES] == 0:
        return NOWHERE
    at = past_spaces(data, at + 1)
    return at if data[at] == LF else NOWHERE


# --- Kaggle's CSV -----------------------------------------------------------------------------------------------------


@_jit
def _read_row(data: Any, at: Any, columns: Any, layout: Any, facts: Any, found: Any, out: Any, to: Any) -> Any:
    """As `_read_object` the row from `at` on, with columns int64 (C,): places in NAMES, or UNKNOWN."""
    facts[_BEGIN] = facts[_END] = facts[_KEY_BITS] = facts[_N_STROKES] = 0
    facts[_IS_RECOGNIZED] = 1
    for place in range(len(columns)):
        name, is_quoted = columns[place], data[at] == QUOTE
        begin = at + is_quoted
        if name == _DRAWING and is_quoted:
            at = _read_strokes(data, past_spaces(data, begin), layout, facts, found, out, to)
            if at == NOWHERE:
                return at
            at = past_spaces(data, at)
        else:
            at = begin
            while IS_PLAIN[data[at]] and (is_quoted or data[at] != COMMA):
                at += 1
        is_right = not is_quoted or data[at] == QUOTE
        if name == _WORD:
            facts[_BEGIN], facts[_END] = begin, at
        elif name == _KEY and at > begin:
            key, is_right = key_of(data, begin, at)
            facts[_KEY_BITS] = key
        elif name == _RECOGNIZED:
            is_true = at - begin == 4 and data[begin] == 84 and past(_TRUE[1:], data, begin + 1) == at
            is_false = at - begin == 5 and data[begin] == 70 and past(_FALSE[1:], data, begin + 1) == at
            facts[_IS_RECOGNIZED], is_right = is_true, is_true or is_false
        elif name == _TIME and at > begin:
            is_right = is_time(data, begin, at)
        at += is_quoted
        is_last = place == len(columns) - 1
        if not is_right or (is_quoted and data[at - 1] != QUOTE) or not (is_last or data[at] == COMMA):
            return NOWHERE
        at += not is_last
    at += data[at] == CR
    return at if data[at] == LF and facts[_N_STROKES] else NOWHERE


# --- Lines of either --------------------------------------------------------------------------------------------------


@_jit
def _finish(
    data: Any, begin: Any, columns: Any, end: Any, what: Any, to: Any, facts: Any, runs: Any, n_runs: Any, line: Any
) -> tuple[int, int]:
    """Adds a line that was read to `end` to `runs`.

    Args:
        to: where its record ends.
        line: how many were before it.

    Returns:
        (how many runs there are then, where the next line begins).
    """
    if end == NOWHERE:
        # In CSV spaces are a value.
        end = blank = begin + (data[begin] == CR) if len(columns) else past_spaces(data, begin)
        while data[end] != LF:
            end += 1
        if end == blank and end + 1 - begin <= MAX_DRAWING_BYTES:
            return n_runs, end + 1
    last = n_runs - 1
    goes_on = what == RECORDS and n_runs and runs[last, _WHAT] == RECORDS
    if goes_on and past(data[runs[last, _WORD_BEGINS] : runs[last, _WORD_ENDS]], data, facts[_BEGIN]) == facts[_END]:
        runs[last, _N] += 1
        runs[last, _N_POINTS] += facts[_LAYOUT] == POINTS
        runs[last, _OUT] = to
        return n_runs, end + 1
    runs[n_runs, _WHAT], runs[n_runs, _LINE] = what, line
    runs[n_runs, _BEGINS], runs[n_runs, _ENDS] = begin, end + 1
    runs[n_runs, _WORD_BEGINS], runs[n_runs, _WORD_ENDS] = facts[_BEGIN], facts[_END]
    runs[n_runs, _N], runs[n_runs, _OUT] = what == RECORDS, to
    runs[n_runs, _N_POINTS] = what == RECORDS and facts[_LAYOUT] == POINTS
    return n_runs + 1, end + 1


@numba.njit(inline="always")
def _convert(read: Any, data: Any, at: Any, columns: Any, layout: Any, found: Any, out: Any, runs: Any) -> Any:
    n_runs, n_lines, facts = 0, 0, found.facts
    # Of CSV nobody but its reader knows where what comes after a line that is OTHER begins.
    while at < len(data) and n_runs < len(runs) and not (len(columns) and n_runs and runs[n_runs - 1, _WHAT] == OTHER):
        to = runs[n_runs - 1, _OUT] if n_runs else 0
        end = read(data, at, columns, layout, facts, found, out, to)
        what, to = _write(at, end, layout, facts, found, out, to)
        if what == _RAW:
            break
        n_runs, at = _finish(data, at, columns, end, what, to, facts, runs, n_runs, n_lines)
        n_lines += 1
    return n_runs, n_lines, at


@numba.njit(inline="always")
def _simplify(read: Any, data: Any, at: Any, columns: Any, layout: Any, found: Any, out: Any, runs: Any) -> Any:
    n_runs, n_lines, facts = 0, 0, found.facts
    while at < len(data) and n_runs < len(runs):
        to = runs[n_runs - 1, _OUT] if n_runs else 0
        end = read(data, at, columns, layout, facts, found, out, to)
        what, to = _write(at, end, layout, facts, found, out, to)
        if what != _RAW:
            break
        what, to = _write_raw(found, layout, FEW_LOOKS if n_lines else MAX_LOOKS, out, to, end - at)
        if what == OTHER and n_lines:
            break
        n_runs, at = _finish(data, at, columns, end, what, to, facts, runs, n_runs, n_lines)
        n_lines += 1
    return n_runs, n_lines, at


@jit()
def convert_ndjson(data: Any, at: Any, columns: Any, layout: Any, found: Any, out: Any, runs: Any) -> Any:
    """Converts lines of ndjson, from `at` on, until there are none, `runs` is full, or a drawing is to be simplified.

    Args:
        data: uint8, whole lines.
        columns: of CSV; none here.
        layout: one of AUTO, POINTS and COLUMNS.
        found: memory, a `scanning.Found`.
        out: uint8; gets the records; twice as many bytes as the lines have are enough.
        runs: int64 (N, `N_COLUMNS`); gets what lines are: each time those, one after the other, that have records of
            one word, or one that has none. Empty lines are nothing.

    Returns:
        (runs, lines, where the next line begins).
    """
    return _convert(_read_object, data, at, columns, layout, found, out, runs)


@jit()
def simplify_ndjson(data: Any, at: Any, columns: Any, layout: Any, found: Any, out: Any, runs: Any) -> Any:
    """As `convert_ndjson` drawings to simplify, until a line has none, or one that takes long and is not the first."""
    return _simplify(_read_object, data, at, columns, layout, found, out, runs)


@jit()
def convert_csv(data: Any, at: Any, columns: Any, layout: Any, found: Any, out: Any, runs: Any) -> Any:
    """As `convert_ndjson`, of rows with the columns int64 (C,); it ends with the first that is OTHER."""
    return _convert(_read_row, data, at, columns, layout, found, out, runs)


@jit()
def simplify_csv(data: Any, at: Any, columns: Any, layout: Any, found: Any, out: Any, runs: Any) -> Any:
    """As `simplify_ndjson`."""
    return _simplify(_read_row, data, at, columns, layout, found, out, runs)


# --- sketch-rnn's arrays ----------------------------------------------------------------------------------------------


@_jit
def _int16(data: Any, at: Any) -> Any:
    return np.int64(np.int16(data[at] | np.uint16(data[at + 1]) << 8))


@_jit
def convert_sketches(data: Any, begins: Any, counts: Any, out: Any, ends: Any) -> int:
    """Converts drawings of differences as `npz.read` does it.

    Args:
        data: uint8, with the rows of all drawings, little-endian int16 (n, 3) each.
        begins, counts: int64 (N,), where those of each begin, and how many they are.
        out: uint8; gets the records: 32 bytes each and four a row are enough.
        ends: int64 (N,); gets where the record of each ends.

    Returns:
        How many were converted, up to one that is not as the official files have them.
    """
    at = 0
    for i in range(len(ends)):
        begin, n = begins[i], counts[i]
        x = y = x_low = x_high = y_low = y_high = 0
        n_strokes, is_wrong = 1, False
        for row in range(begin, begin + 6 * n, 6):
            x, y = x + _int16(data, row), y + _int16(data, row + 2)
            x_low, x_high, y_low, y_high = min(x_low, x), max(x_high, x), min(y_low, y), max(y_high, y)
            is_wrong |= data[row + 4] > 1 or data[row + 5] > 0
            n_strokes += data[row + 4] == 1 and row < begin + 6 * (n - 1)
        if is_wrong or n > 65534 or n_strokes > MAX_STROKES:
            return i
        longer = max(x_high - x_low, y_high - y_low)
        factor = 255 / longer if longer > 255 else 1.0
        at = _write_head(0, 1, n_strokes, out, at)
        x, y, first, row, last = -x_low, -y_low, True, begin, begin + 6 * (n - 1)
        while row <= last:
            end = row
            while end < last and data[end + 4] == 0:
                end += 6
            n_points = (end - row) // 6 + 1 + first
            out[at], out[at + 1] = n_points & 255, n_points >> 8
            at += 2
            for k in range(n_points):
                if not (first and k == 0):
                    x, y = x + _int16(data, row), y + _int16(data, row + 2)
                    row += 6
                out[at + k], out[at + n_points + k] = np.rint(x * factor), np.rint(y * factor)
            at += 2 * n_points
            first = False
        ends[i] = at
    return len(ends)
