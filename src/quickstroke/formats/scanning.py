"""Numbers, texts, times and strokes in text files, read by compiled code.

It reads what the official files have, and what most programs write. Whatever else there is, wrong or rare, it does not
read, and says so by the place `NOWHERE`: the readers in Python (`ndjson`, `csv`) have to see to it. They give the same
for what is read here.

Places are positions in uint8 `data`, lines that each have an end, where every loop stops.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quickstroke.drawings.drawing import MAX_DRAWING_BYTES
from quickstroke.utils.compiled import jit

NOWHERE = -1
# The binary format has 16 bits for it; this many dots take as much memory as one line may.
MAX_STROKES = 10_000

TAB, LF, CR, SPACE, QUOTE, COMMA, MINUS, DOT, COLON = b'\t\n\r ",-.:'
LEFT, BACKSLASH, RIGHT, OPEN, CLOSE, ZERO, NINE = b"[\\]{}09"
AUTO, POINTS, COLUMNS = range(3)
# What a line may say of a drawing, in the order that the official files have.
NAMES = ("word", "countrycode", "timestamp", "recognized", "key_id", "drawing")
UNKNOWN = len(NAMES)
# Bytes that a text may have without further ado.
IS_PLAIN = np.array([32 <= byte < 127 and byte not in (QUOTE, BACKSLASH) for byte in range(256)])
_POWERS = np.array([10.0**k for k in range(19)])
_N_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


class Found(NamedTuple):
    """Memory for what is read of a line.

    Attributes:
        facts: int64 (7,): where the word begins and ends, the bits of the key_id, recognized, how many strokes, where
            these end in a record, or 0 where they are in the other arrays, and the layout that they were read in.
        numbers: float64, of all strokes.
        row_ends: int64, where the numbers of each row end.
        stroke_ends: int64, where the rows of each stroke end.
    """

    facts: NDArray[np.int64]
    numbers: NDArray[np.float64]
    row_ends: NDArray[np.int64]
    stroke_ends: NDArray[np.int64]


def memory() -> Found:
    """Enough for any line."""
    n = MAX_DRAWING_BYTES // 2
    return Found(np.zeros(7, np.int64), np.empty(n), np.empty(n, np.int64), np.empty(MAX_STROKES, np.int64))


@jit()
def past_spaces(data: Any, at: Any) -> Any:
    if data[at] > SPACE:
        return at
    while data[at] == SPACE or data[at] == TAB or data[at] == CR:
        at += 1
    return at


@jit()
def past(word: Any, data: Any, at: Any) -> Any:
    """The place after a word that is at `at`."""
    for k in range(len(word)):
        if data[at + k] != word[k]:
            return NOWHERE
    return at + len(word)


@jit()
def past_text(data: Any, at: Any) -> Any:
    """The place after the quote that ends the text of plain letters from `at` on."""
    end, one = np.uint64(at), np.uint64(1)
    while IS_PLAIN[data[end]]:
        end += one
    return np.int64(end + one) if data[end] == QUOTE else NOWHERE


@jit()
def digits(data: Any, begin: Any, n: Any) -> Any:
    """The number of `n` digits, or -1."""
    value: Any = 0
    for at in range(begin, begin + n):
        digit = np.int64(data[at]) - ZERO
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@jit()
def number(data: Any, at: Any) -> tuple[float, int]:
    """A number of at most 18 digits as Python reads it, to the last bit, and the place after it."""
    is_negative = data[at] == MINUS
    if is_negative:
        at += 1
    begin, value = at, np.int64(0)
    while data[at] >= ZERO and data[at] <= NINE:
        value = value * 10 + (np.int64(data[at]) - ZERO)
        at += 1
    n = at - begin
    if n == 0 or n > 18 or (n > 1 and data[begin] == ZERO):
        return 0.0, NOWHERE
    result = np.float64(value)
    if data[at] == DOT:
        at += 1
        begin = at
        while data[at] >= ZERO and data[at] <= NINE and at - begin < 18:
            value = value * 10 + (np.int64(data[at]) - ZERO)
            at += 1
        k = at - begin
        if k == 0 or n + k > 18:
            return 0.0, NOWHERE
        result = np.float64(value) / _POWERS[k]
        if n + k > 15:
            # The quotient and what is left of it: correct unless it is as good as half way between two floats.
            high = np.float64(value)
            left = (high - _high_part(result, _POWERS[k])) - _low_part(result, _POWERS[k])
            left = (left + np.float64(value - np.int64(high))) / _POWERS[k]
            quotient, margin = result, abs(left) * 1e-12
            result = quotient + (left + margin)
            if result != quotient + (left - margin):
                return 0.0, NOWHERE
        if is_negative:
            result = -result
    elif n > 15 and np.int64(result) != value:
        return 0.0, NOWHERE
    elif is_negative and value:
        result = -result
    return result, at


@jit()
def _whole_numbers(data: Any, begin: Any, numbers: Any, n_before: Any) -> tuple[Any, Any, Any]:
    """Whole numbers of at most three digits with a comma alone between them, which most rows are made of.

    Returns:
        (how many numbers there are then, the place of what comes next, whether that is the bracket that ends them).
    """
    # Where an index might be negative, each access looks whether it is.
    u = np.uint64
    at, n, one, two, ten = u(begin), u(n_before), u(1), u(2), u(10)
    while n < u(len(numbers)) and at + two < u(len(data)):
        first, second, third = u(data[at]) - u(ZERO), u(data[at + one]) - u(ZERO), u(data[at + two]) - u(ZERO)
        if first >= ten:  # or below 0
            break
        # How long a number is nobody foresees, so that looking costs less than branching.
        has_two = u(second < ten)
        has_three = has_two & u(third < ten)
        end = at + one + has_two + has_three
        value = (one - has_two) * first + has_two * (first * ten + second)
        value = (one - has_three) * value + has_three * (value * ten + third)
        if data[end] == RIGHT and not (first == u(0) and has_two):
            numbers[n] = value
            return np.int64(n + one), np.int64(end), True
        if data[end] != COMMA or (first == u(0) and has_two):
            break
        numbers[n] = value
        at, n = end + one, n + one
    return np.int64(n), np.int64(at), False


@jit()
def _high_part(x: Any, y: Any) -> Any:
    return x * y


@jit()
def _low_part(x: Any, y: Any) -> Any:
    """What rounding takes from x * y. Source: Dekker, A Floating-Point Technique (1971)."""
    x_high, y_high = x * 134217729.0, y * 134217729.0
    x_high, y_high = x_high - (x_high - x), y_high - (y_high - y)
    x_low, y_low = x - x_high, y - y_high
    return ((x_high * y_high - x * y) + x_high * y_low + x_low * y_high) + x_low * y_low


@jit()
def strokes(data: Any, at: Any, found: Any) -> Any:
    """Reads strokes in JSON form, at least one, each of at least one row, each of at least one number; the place after.

    Args:
        found: memory; gets the numbers, where those of each row end, the rows of each stroke, and how many strokes.
    """
    numbers, row_ends, stroke_ends = found.numbers, found.row_ends, found.stroke_ends
    n_numbers = n_rows = n_strokes = 0
    if data[at] != LEFT:
        return NOWHERE
    while True:
        at = past_spaces(data, at + 1)
        if data[at] != LEFT or n_strokes == MAX_STROKES:
            return NOWHERE
        while True:
            at = past_spaces(data, at + 1)
            if data[at] != LEFT or n_rows == len(row_ends):
                return NOWHERE
            n_numbers, at, is_whole = _whole_numbers(data, past_spaces(data, at + 1), numbers, n_numbers)
            while not is_whole:
                value, at = number(data, past_spaces(data, at))
                if at == NOWHERE or n_numbers == len(numbers):
                    return NOWHERE
                numbers[n_numbers] = value
                n_numbers += 1
                at = past_spaces(data, at)
                if data[at] == RIGHT:
                    break
                if data[at] != COMMA:
                    return NOWHERE
                n_numbers, at, is_whole = _whole_numbers(data, past_spaces(data, at + 1), numbers, n_numbers)
            row_ends[n_rows] = n_numbers
            n_rows += 1
            at = past_spaces(data, at + 1)
            if data[at] != COMMA:
                break
        if data[at] != RIGHT:
            return NOWHERE
        stroke_ends[n_strokes] = n_rows
        n_strokes += 1
        at = past_spaces(data, at + 1)
        if data[at] != COMMA:
            break
    found.facts[4] = n_strokes
    return at + 1 if data[at] == RIGHT else NOWHERE


@jit()
def layout_of(found: Any, layout: Any) -> tuple[int, int]:
    """As `layouts.decide`, and of how many numbers a point is; 0 where the strokes are not alike."""
    row_ends, stroke_ends, n_strokes = found.row_ends, found.stroke_ends, found.facts[4]
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
def points_of(found: Any, layout: Any, size: Any) -> tuple[Any, Any]:
    """The points float64 (P, 2) of strokes of `size` numbers a point, and the offsets int64 of the strokes therein."""
    numbers, row_ends, stroke_ends = found.numbers, found.row_ends, found.stroke_ends
    n_strokes = found.facts[4]
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
def key_of(data: Any, begin: Any, end: Any) -> tuple[Any, bool]:
    """A key_id of 1 to 20 digits as int64 of the same bits, and whether it is one."""
    n = end - begin
    if n < 1 or n > 20:
        return 0, False
    first = digits(data, begin, min(n, 18))
    if first < 0 or n <= 18:
        return first, first >= 0
    last = digits(data, begin + 18, n - 18)
    if last < 0 or (n == 20 and (first > 184467440737095516 or (first == 184467440737095516 and last > 15))):
        return 0, False
    return np.int64(np.uint64(first) * np.uint64(10 if n == 19 else 100) + np.uint64(last)), True


@jit()
def is_time(data: Any, at: Any, end: Any) -> Any:
    """Whether a text is like `2017-03-01 20:41:36.70725 UTC`; of some days that there are it is not known."""
    n = end - at - 4
    if n < 19 or n > 26 or n == 20 or data[at + 4] != MINUS or data[at + 7] != MINUS or data[at + 10] != SPACE:
        return False
    if data[at + 13] != COLON or data[at + 16] != COLON or (n > 19 and data[at + 19] != DOT):
        return False
    if data[end - 4] != SPACE or data[end - 3] != 85 or data[end - 2] != 84 or data[end - 1] != 67:
        return False
    month, day = digits(data, at + 5, 2), digits(data, at + 8, 2)
    hour, minute, second = digits(data, at + 11, 2), digits(data, at + 14, 2), digits(data, at + 17, 2)
    if digits(data, at, 4) < 1 or month < 1 or month > 12 or day < 1 or day > _N_DAYS[month]:
        return False
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return False
    return n == 19 or digits(data, at + 20, n - 20) >= 0
