"""Lines of the text formats become records of the binary format, by compiled code, without a Python object a drawing.

It takes the lines that `scanning` can read. Countries and times are looked at, but not kept: a dataset has none.
"""

from typing import Any

import numpy as np

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES
from quickstroke.drawings.simplification import MAX_LOOKS, simplify_points
from quickstroke.formats.scanning import (
    CLOSE,
    COLON,
    COMMA,
    CR,
    IS_PLAIN,
    LF,
    MAX_STROKES,
    NOWHERE,
    OPEN,
    QUOTE,
    is_time,
    key_of,
    number,
    past,
    past_spaces,
    past_text,
    strokes,
)
from quickstroke.utils.compiled import jit

# What becomes of a line: nothing is in it, a record, one of the same word as the one before, a drawing that has to be
# simplified, or none of these.
EMPTY, RECORD, SAME_WORD, RAW, OTHER = range(5)
AUTO, POINTS, COLUMNS = range(3)
N_MORE_BYTES = 32

NAMES = ("word", "countrycode", "timestamp", "recognized", "key_id", "drawing")
_WORD, _COUNTRY, _TIME, _RECOGNIZED, _KEY, _DRAWING, UNKNOWN = range(7)
_NAMES = np.frombuffer("".join(name.ljust(16) for name in NAMES).encode(), np.uint8).reshape(len(NAMES), 16)
_LENGTHS = np.array([len(name) for name in NAMES])
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
# Of `Found.facts`.
_BEGIN, _END, _KEY_BITS, _IS_RECOGNIZED, _N_STROKES = range(5)


# --- Records ----------------------------------------------------------------------------------------------------------


@jit()
def layout_of(found: Any, layout: Any) -> tuple[int, int]:
    """As `layouts.decide`, and of how many numbers a point is; 0 where the strokes are not alike."""
    row_ends, stroke_ends, n_strokes = found.row_ends, found.stroke_ends, found.facts[_N_STROKES]
    begin = row = 0
    for stroke in range(n_strokes):
        n_rows, n = stroke_ends[stroke] - row, row_ends[row] - begin
        for k in range(row, stroke_ends[stroke]):
            if row_ends[k] - begin != n:
                return layout, 0
            begin = row_ends[k]
        row = stroke_ends[stroke]
        may_be_points, may_be_columns = n == 2 or n == 3, n_rows == 2 or n_rows == 3
        if may_be_points and may_be_columns:
            continue
        own = POINTS if may_be_points else COLUMNS
        if not (may_be_points or may_be_columns) or (layout != AUTO and own != layout):
            return layout, 0
        layout = own
    if layout == AUTO:
        layout = COLUMNS
    size = begin = row = 0
    for stroke in range(n_strokes):
        own = stroke_ends[stroke] - row if layout == COLUMNS else row_ends[row] - begin
        if own < 2 or own > 3 or (size and own != size):
            return layout, 0
        size, row = own, stroke_ends[stroke]
        begin = row_ends[row - 1]
    return layout, size


@jit()
def _write_head(found: Any, out: Any, at: Any) -> Any:
    facts = found.facts
    for b in range(8):
        out[at + b] = facts[_KEY_BITS] >> (8 * b) & 255
    out[at + 8] = out[at + 9] = 90  # ZZ
    out[at + 10] = facts[_IS_RECOGNIZED]
    for b in range(4):
        out[at + 11 + b] = 0
    out[at + 15], out[at + 16] = facts[_N_STROKES] & 255, facts[_N_STROKES] >> 8
    return at + 17  # bytes of a header


@jit()
def _write_simplified(found: Any, layout: Any, out: Any, at: Any) -> Any:
    """Writes a record of two numbers a point; where it ends."""
    numbers, row_ends, stroke_ends = found.numbers, found.row_ends, found.stroke_ends
    at = _write_head(found, out, at)
    begin = 0
    for stroke in range(found.facts[_N_STROKES]):
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
def points_of(found: Any, layout: Any, size: Any) -> tuple[Any, Any]:
    """The points float64 (P, 2) of strokes of `size` numbers a point, and the offsets int64 of the strokes therein."""
    numbers, row_ends, stroke_ends = found.numbers, found.row_ends, found.stroke_ends
    n_strokes = found.facts[_N_STROKES]
    n_points = row_ends[stroke_ends[n_strokes - 1] - 1] // size
    points, offsets = np.empty((n_points, 2)), np.zeros(n_strokes + 1, np.int64)
    begin = 0
    for stroke in range(n_strokes):
        end, to = row_ends[stroke_ends[stroke] - 1], offsets[stroke]
        n = (end - begin) // size
        step, y = (1, n) if layout == COLUMNS else (size, 1)
        for i in range(n):
            points[to + i, 0], points[to + i, 1] = numbers[begin + step * i], numbers[begin + step * i + y]
        offsets[stroke + 1] = to + n
        begin = end
    return points, offsets


@jit()
def _write_raw(found: Any, layout: Any, out: Any, at: Any) -> Any:
    """Simplifies a drawing of three numbers a point and writes its record; where it ends."""
    points, offsets = points_of(found, layout, 3)
    kept, ends = simplify_points(points, offsets, MAX_LOOKS)
    n_strokes = found.facts[_N_STROKES]
    if len(kept) == 0:
        return NOWHERE
    at = _write_head(found, out, at)
    for stroke in range(n_strokes):
        begin, n = ends[stroke], ends[stroke + 1] - ends[stroke]
        if n > 65535:
            return NOWHERE
        out[at], out[at + 1] = n & 255, n >> 8
        at += 2
        for i in range(n):
            out[at + i], out[at + n + i] = kept[begin + i, 0], kept[begin + i, 1]
        at += 2 * n
    return at if at <= MAX_DRAWING_BYTES else NOWHERE


@jit()
def _is_same(data: Any, begin: Any, end: Any, other: Any, other_end: Any) -> bool:
    if end - begin != other_end - other:
        return False
    same = True
    for k in range(end - begin):
        same &= data[begin + k] == data[other + k]
    return same


@jit()
def _finish(data: Any, begin: Any, end: Any, layout: Any, found: Any, out: Any, lines: Any, line: Any) -> Any:
    """Says in `lines` what becomes of a line that was read to `end`, and writes its record; where the line ends."""
    n_out = lines[line - 1, 1] if line else 0
    what, n_written, facts = OTHER, n_out, found.facts
    if end != NOWHERE:
        own_layout, size = layout_of(found, layout)
        if size == 3:
            what = RAW
        elif size == 2:
            at = _write_simplified(found, own_layout, out, n_out)
            if at != NOWHERE:
                what, n_written = RECORD, at
    else:
        end = past_spaces(data, begin)
        what = EMPTY if data[end] == LF else OTHER
        while data[end] != LF:
            end += 1
    if end + 1 - begin > MAX_DRAWING_BYTES:
        what, n_written = OTHER, n_out
    lines[line, 0], lines[line, 1], lines[line, 4] = what, n_written, end + 1
    if what == RECORD:
        lines[line, 2], lines[line, 3] = facts[_BEGIN], facts[_END]
        if n_out and _is_same(data, facts[_BEGIN], facts[_END], lines[line - 1, 2], lines[line - 1, 3]):
            lines[line, 0] = SAME_WORD
    elif line:
        lines[line, 2], lines[line, 3] = lines[line - 1, 2], lines[line - 1, 3]
    return end + 1


# --- ndjson -----------------------------------------------------------------------------------------------------------


@jit()
def _name(data: Any, at: Any) -> tuple[int, int]:
    """Which of the names begins at `at`, and the place after its quote."""
    end = past_text(data, at)
    for name in range(len(_LENGTHS)):
        if end - 1 - at == _LENGTHS[name]:
            k = 0
            while k < _LENGTHS[name] and data[at + k] == _NAMES[name, k]:
                k += 1
            if k == _LENGTHS[name]:
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


@jit()
def _read_object(data: Any, at: Any, found: Any) -> Any:
    """Reads the JSON object of the line from `at` on; the place of the line's end."""
    facts = found.facts
    facts[_BEGIN] = facts[_END] = facts[_KEY_BITS] = facts[_N_STROKES] = seen = 0
    facts[_IS_RECOGNIZED] = 1
    at = past_spaces(data, at)
    if data[at] != OPEN:
        return NOWHERE
    while True:
        at = past_spaces(data, at + 1)
        if data[at] != QUOTE:
            return NOWHERE
        name, at = _name(data, at + 1)
        if at == NOWHERE or (name != UNKNOWN and seen >> name & 1):
            return NOWHERE
        seen |= 1 << name
        at = past_spaces(data, at)
        if data[at] != COLON:
            return NOWHERE
        at = past_spaces(data, at + 1)
        at = strokes(data, at, found) if name == _DRAWING else _read_value(data, at, name, facts)
        if at == NOWHERE:
            return NOWHERE
        at = past_spaces(data, at)
        if data[at] != COMMA:
            break
    if data[at] != CLOSE or facts[_N_STROKES] == 0:
        return NOWHERE
    at = past_spaces(data, at + 1)
    return at if data[at] == LF else NOWHERE


@jit()
def convert_ndjson(data: Any, columns: Any, layout: Any, found: Any, out: Any, lines: Any) -> int:
    """Converts a block of lines of ndjson.

    Args:
        data: uint8, whole lines.
        columns: of CSV; nothing here.
        layout: one of AUTO, POINTS and COLUMNS.
        found: memory, a `scanning.Found`.
        out: uint8; gets the records; `N_MORE_BYTES` a line more than the lines have are enough.
        lines: int64 (N, 5); gets of each line what becomes of it, where its record ends, where its word, or the last
            one before it, begins and ends, and where the line ends.

    Returns:
        How many lines were looked at: all of them.
    """
    begin = n_lines = 0
    while begin < len(data):
        begin = _finish(data, begin, _read_object(data, begin, found), layout, found, out, lines, n_lines)
        n_lines += 1
    return n_lines


@jit()
def simplify_ndjson(data: Any, begin: Any, columns: Any, layout: Any, found: Any, out: Any) -> Any:
    """Writes the record of the line from `begin` on, which is RAW; where it ends, or NOWHERE."""
    _read_object(data, begin, found)
    return _write_raw(found, layout_of(found, layout)[0], out, 0)


# --- Kaggle's CSV -----------------------------------------------------------------------------------------------------


@jit()
def _read_row(data: Any, at: Any, columns: Any, found: Any) -> Any:
    """Reads the row from `at` on, with columns int64 (C,): places in NAMES, or UNKNOWN; the place of the line's end."""
    facts = found.facts
    facts[_BEGIN] = facts[_END] = facts[_KEY_BITS] = facts[_N_STROKES] = 0
    facts[_IS_RECOGNIZED] = 1
    for place in range(len(columns)):
        name, is_quoted = columns[place], data[at] == QUOTE
        begin = at + is_quoted
        if name == _DRAWING and is_quoted:
            at = strokes(data, past_spaces(data, begin), found)
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


@jit()
def convert_csv(data: Any, columns: Any, layout: Any, found: Any, out: Any, lines: Any) -> int:
    """As `convert_ndjson`, of rows with the columns int64 (C,); it ends with the first that is OTHER."""
    begin = n_lines = 0
    while begin < len(data):
        end = _finish(data, begin, _read_row(data, begin, columns, found), layout, found, out, lines, n_lines)
        if lines[n_lines, 0] == EMPTY and end - begin > 1 + (data[begin] == CR):
            lines[n_lines, 0] = OTHER  # spaces are a value
        begin = end
        n_lines += 1
        if lines[n_lines - 1, 0] == OTHER:
            break
    return n_lines


@jit()
def simplify_csv(data: Any, begin: Any, columns: Any, layout: Any, found: Any, out: Any) -> Any:
    """As `simplify_ndjson`."""
    _read_row(data, begin, columns, found)
    return _write_raw(found, layout_of(found, layout)[0], out, 0)


# --- sketch-rnn's arrays ----------------------------------------------------------------------------------------------


@jit()
def convert_sketches(rows: Any, starts: Any, out: Any, ends: Any) -> int:
    """Converts drawings of differences as `npz.read` does it.

    Args:
        rows: int16 (R, 3), of all drawings.
        starts: int64 (N + 1,), where the rows of each begin.
        out: uint8; gets the records: 32 bytes each and four a row are enough.
        ends: int64 (N,); gets where the record of each ends.

    Returns:
        How many were converted, up to one that is not as the official files have them.
    """
    at = 0
    for i in range(len(ends)):
        begin, n = starts[i], starts[i + 1] - starts[i]
        x = y = x_low = x_high = y_low = y_high = 0
        n_strokes, is_wrong = 1, False
        for r in range(begin, begin + n):
            x, y = x + rows[r, 0], y + rows[r, 1]
            x_low, x_high, y_low, y_high = min(x_low, x), max(x_high, x), min(y_low, y), max(y_high, y)
            is_wrong |= rows[r, 2] < 0 or rows[r, 2] > 1
            n_strokes += rows[r, 2] == 1 and r < begin + n - 1
        if is_wrong or n > 65534 or n_strokes > MAX_STROKES:
            return i
        longer = max(x_high - x_low, y_high - y_low)
        factor = 255 / longer if longer > 255 else 1.0
        for b in range(17):
            out[at + b] = 0
        out[at + 8] = out[at + 9] = 90  # ZZ
        out[at + 10] = 1
        out[at + 15], out[at + 16] = n_strokes & 255, n_strokes >> 8
        at += 17
        x, y, first, r = -x_low, -y_low, True, begin
        while r < begin + n:
            end = r
            while end < begin + n - 1 and rows[end, 2] == 0:
                end += 1
            n_points = end + 1 - r + first
            out[at], out[at + 1] = n_points & 255, n_points >> 8
            at += 2
            for k in range(n_points):
                if not (first and k == 0):
                    x, y = x + rows[r, 0], y + rows[r, 1]
                    r += 1
                out[at + k], out[at + n_points + k] = np.rint(x * factor), np.rint(y * factor)
            at += 2 * n_points
            first = False
        ends[i] = at
    return len(ends)
