"""Kernels that read lines of JSON in place: which hold an object with the text, and where; what is unusual is left to a library."""

import numpy as np

from src.text.ascii import EACH, HIGH, U64
from src.text.folded import put
from src.text.jit import helper, kernel, load64, trailing_zeros

DOCUMENT, BLANK, ASK = range(3)
"""What a line is: an object with a text; nothing; something that the library has to look at."""
_START, _STOP, _ESCAPED, _WIDE, _SPELLED = range(5)
FOUND = 5
"""What is noted of a line: where its text is; whether the last string, any byte, the text has escapes, is not ASCII, has escapes."""
_DIGITS = 15
_DEPTH = 60
_QUOTE, _BACK, _COMMA, _COLON, _NEWLINE, _MINUS, _POINT = 0x22, 0x5C, 0x2C, 0x3A, 0x0A, 0x2D, 0x2E
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_LIST, _CLOSE_LIST = 0x7B, 0x7D, 0x5B, 0x5D
_QUOTES, _BACKS, _BLANKS, _NEWLINES = EACH * U64(_QUOTE), EACH * U64(_BACK), EACH * U64(0x20), EACH * U64(_NEWLINE)
_TRUE, _FALSE, _NULL = U64(0x65757274), U64(0x65736C6166), U64(0x6C6C756E)


@helper
def _zeros(eight):  # type: ignore[no-untyped-def]
    """Mark the lowest byte of 0, and perhaps some after it."""
    return (eight - EACH) & ~eight & HIGH


@helper
def _space(data, place):  # type: ignore[no-untyped-def]
    while data[place] == 0x20 or data[place] == 0x09 or data[place] == 0x0D:
        place += 1
    return place


@helper
def _hex(data, place):  # type: ignore[no-untyped-def]
    """Four hexadecimal digits, or -1."""
    found = np.int64(0)
    for at in range(place, place + 4):
        digit = np.int64(data[at])
        if 0x30 <= digit < 0x3A:
            found = found << 4 | (digit - 0x30)
        elif 0x61 <= (digit | 0x20) < 0x67:
            found = found << 4 | ((digit | 0x20) - 0x57)
        else:
            return np.int64(-1)
    return found


@helper
def _escape(data, place):  # type: ignore[no-untyped-def]
    """The character that the escape at a place stands for, and in the lowest 4 bits its length; -1 where it is none."""
    kind = data[place + 1]
    if kind == 0x75:
        first = _hex(data, place + 2)
        if 0xD800 <= first < 0xE000:
            second = _hex(data, place + 8) if data[place + 6] == _BACK and data[place + 7] == 0x75 else np.int64(-1)
            if first >= 0xDC00 or not 0xDC00 <= second < 0xE000:
                return np.int64(-1)
            return (0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)) << 4 | 12
        return first << 4 | 6 if first >= 0 else np.int64(-1)
    if kind in (_QUOTE, _BACK, 0x2F):
        return np.int64(kind) << 4 | 2
    if kind in (0x62, 0x66):
        return np.int64(0x08 if kind == 0x62 else 0x0C) << 4 | 2
    if kind in (0x6E, 0x72, 0x74):
        return np.int64(0x0A if kind == 0x6E else (0x0D if kind == 0x72 else 0x09)) << 4 | 2
    return np.int64(-1)


@helper
def _string(data, place, found):  # type: ignore[no-untyped-def]
    """The closing quote of the string whose first byte is at a place, or -1."""
    while True:
        eight = load64(data, place)
        special = _zeros(eight ^ _QUOTES) | _zeros(eight ^ _BACKS) | ((eight - _BLANKS) & ~eight & HIGH)
        found[_WIDE] |= np.int64(eight & HIGH != U64(0))
        if special == U64(0):
            place += 8
            continue
        place += np.int64(trailing_zeros(special) >> U64(3))
        if data[place] == _QUOTE:
            return place
        if data[place] != _BACK:  # a control character, or the end of the line
            return np.int64(-1)
        escape = _escape(data, place)
        if escape < 0:
            return np.int64(-1)
        found[_ESCAPED] = 1
        place += escape & 15


@helper
def _digits(data, place):  # type: ignore[no-untyped-def]
    """Where a run of digits ends, or -1 where there is none or too long a one."""
    start = place
    while 0x30 <= data[place] < 0x3A:
        place += 1
    return place if 0 < place - start <= _DIGITS else np.int64(-1)


@helper
def _number(data, place):  # type: ignore[no-untyped-def]
    """Where a number without an exponent ends, or -1."""
    if data[place] == _MINUS:
        place += 1
    end = _digits(data, place)
    if end > place + 1 and data[place] == 0x30:
        return np.int64(-1)
    if end >= 0 and data[end] == _POINT:
        end = _digits(data, end + 1)
    return np.int64(-1) if end >= 0 and (data[end] | 0x20) == 0x65 else end


@helper
def _plain(data, place, found):  # type: ignore[no-untyped-def]
    """Where a string, number or literal ends, or -1."""
    if data[place] == _QUOTE:
        end = _string(data, place + 1, found)
        return end + 1 if end >= 0 else end
    eight = load64(data, place)
    if eight & U64(0xFFFFFFFF) == _TRUE or eight & U64(0xFFFFFFFF) == _NULL:
        return place + 4
    if eight & U64(0xFFFFFFFFFF) == _FALSE:
        return place + 5
    return _number(data, place)


@helper
def _key(data, place, found):  # type: ignore[no-untyped-def]
    """Where the value behind a key and its colon begins, or -1."""
    if data[place] != _QUOTE:
        return np.int64(-1)
    place = _string(data, place + 1, found)
    if place < 0:
        return place
    place = _space(data, place + 1)
    return _space(data, place + 1) if data[place] == _COLON else np.int64(-1)


@helper
def _after(data, place, kinds, found):  # type: ignore[no-untyped-def]
    """Within an object (lowest bit of `kinds`) or a list: where the next value begins; -1 where it ends here, -2 where neither."""
    if data[place] == _COMMA:
        place = _space(data, place + 1)
        if kinds & 1:
            place = _key(data, place, found)
        return place if place >= 0 else np.int64(-2)
    return np.int64(-1) if data[place] == (_CLOSE_OBJECT if kinds & 1 else _CLOSE_LIST) else np.int64(-2)


@helper
def _opened(data, place, found):  # type: ignore[no-untyped-def]
    """Where the first value within an object or list begins; where it ends at once, its bracket; or -1."""
    is_object = data[place] == _OPEN_OBJECT
    place = _space(data, place + 1)
    if is_object and data[place] != _CLOSE_OBJECT:
        return _key(data, place, found)
    return place


@helper
def _value(data, place, found):  # type: ignore[no-untyped-def]
    """Where any value ends, or -1."""
    depth = kinds = np.int64(0)
    while True:
        is_object = data[place] == _OPEN_OBJECT
        if is_object or data[place] == _OPEN_LIST:
            place = _opened(data, place, found)
            depth, kinds = depth + 1, kinds << 1 | np.int64(is_object)
            if place < 0 or depth > _DEPTH:
                return np.int64(-1)
            if data[place] != (_CLOSE_OBJECT if is_object else _CLOSE_LIST):
                continue
        else:
            place = _plain(data, place, found)
        if place < 0 or depth == 0:
            return place
        following = np.int64(-1)
        while following < 0:
            place = _space(data, place)
            following = _after(data, place, kinds, found)
            if following == -2:
                return np.int64(-1)
            if following == -1:
                place, depth, kinds = place + 1, depth - 1, kinds >> 1
                if depth == 0:
                    return place
        place = following


@helper
def _named(data, start, end, column):  # type: ignore[no-untyped-def]
    """Whether the key that lies there is the column's."""
    same = end - start == column.size
    for at in range(column.size if same else 0):
        same &= data[start + at] == column[at]
    return same


@helper
def _member(data, place, column, found):  # type: ignore[no-untyped-def]
    """Where a key with its value ends, or -1; the text is noted."""
    found[_ESCAPED] = 0
    value = _key(data, place, found)
    if value < 0 or found[_ESCAPED]:
        return np.int64(-1)
    end = value - 1
    while data[end] != _QUOTE:
        end -= 1
    if not _named(data, place + 1, end, column):
        return _value(data, value, found)
    if found[_STOP] >= 0 or data[value] != _QUOTE:
        return np.int64(-1)
    end = _string(data, value + 1, found)
    found[_START], found[_STOP], found[_SPELLED] = value + 1, end, found[_ESCAPED]
    return end + 1 if end >= 0 else end


@helper
def _object(data, place, column, found):  # type: ignore[no-untyped-def]
    """Where the line's object ends, or -1 where the library has to look at it."""
    place = _space(data, place)
    if data[place] != _OPEN_OBJECT:
        return np.int64(-1)
    place = _space(data, place + 1)
    while True:
        place = _member(data, place, column, found)
        if place < 0:
            return place
        place = _space(data, place)
        if data[place] == _CLOSE_OBJECT:
            return place + 1 if found[_STOP] >= 0 else np.int64(-1)
        if data[place] != _COMMA:
            return np.int64(-1)
        place = _space(data, place + 1)


@helper
def _continues(data, place, count):  # type: ignore[no-untyped-def]
    good = True
    for at in range(place, place + count):
        good &= data[at] & 0xC0 == 0x80
    return good


@helper
def _character(data, place):  # type: ignore[no-untyped-def]
    """How many bytes the character has that begins at a place, by RFC 3629; 0 where it is none."""
    first, second = data[place], data[place + 1]
    if 0xC2 <= first < 0xE0 and _continues(data, place + 1, 1):
        return 2
    if 0xE0 <= first < 0xF0 and _continues(data, place + 1, 2):
        return 0 if (first == 0xE0 and second < 0xA0) or (first == 0xED and second >= 0xA0) else 3
    if 0xF0 <= first < 0xF5 and _continues(data, place + 1, 3):
        return 0 if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second >= 0x90) else 4
    return 0


@helper
def _is_utf8(data, place, end):  # type: ignore[no-untyped-def]
    while place < end:
        high = load64(data, place) & HIGH
        if high == U64(0):
            place += 8
            continue
        place += np.int64(trailing_zeros(high) >> U64(3))
        if place >= end:
            return True
        size = _character(data, place)
        if size == 0:
            return False
        place += size
    return True


@helper
def _line_end(data, place, end):  # type: ignore[no-untyped-def]
    while place < end:
        newlines = _zeros(load64(data, place) ^ _NEWLINES)
        if newlines != U64(0):
            return min(place + np.int64(trailing_zeros(newlines) >> U64(3)), end)
        place += 8
    return end


@helper
def _unescape(data, start, stop):  # type: ignore[no-untyped-def]
    """Put the characters in the place of their escapes, which are longer; where the text ends then."""
    place = start
    while start < stop:
        if data[start] == _BACK:
            escape = _escape(data, start)
            start += escape & 15
            place = put(escape >> 4, data, place)
        else:
            data[place] = data[start]
            place, start = place + 1, start + 1
    return place


@helper
def _kind(data, begin, size, column, found):  # type: ignore[no-untyped-def]
    """What the line is that begins there, and in the bits above the lowest two where it ends."""
    for at in range(FOUND):
        found[at] = 0
    found[_STOP] = -1
    end = _space(data, begin)
    if end >= size or data[end] == _NEWLINE:
        return min(end, size) << 2 | BLANK
    end = _object(data, begin, column, found)
    if end >= 0:
        end = _space(data, end)
    if end < 0 or (end < size and data[end] != _NEWLINE) or (found[_WIDE] and not _is_utf8(data, begin, end)):
        return _line_end(data, begin, size) << 2 | ASK
    if found[_SPELLED]:
        found[_STOP] = _unescape(data, found[_START], found[_STOP])
    return min(end, size) << 2 | DOCUMENT


@kernel("i8(u1*, i8, u1*, i8*, i8*, i8*, i8*, u1*)")
def scan(data, size, column, found, begins, starts, stops, kinds):  # type: ignore[no-untyped-def]
    """Find the text of each line; texts with escapes are spelled out where they stand.

    A line that is a DOCUMENT is valid JSON with just one such key at its top, whose value is a text: what the library makes of
    it is the same. Everything that would take more to be sure of (long numbers, exponents, deep nesting, escapes in keys) is ASK.

    Args:
        data: Lines, and some zeros after them.
        size: Bytes of the lines.
        column: The key's UTF-8.
        found: Scratch of FOUND numbers.
        begins: Out: where each line begins, and the last ends.
        starts: Out: where its text begins.
        stops: Out: where its text ends.
        kinds: Out: DOCUMENT, BLANK or ASK.

    Returns:
        How many lines there are.
    """
    place = count = np.int64(0)
    while place < size:
        kind = _kind(data, place, size, column, found)
        begins[count], starts[count], stops[count], kinds[count] = place, found[_START], found[_STOP], kind & 3
        place = (kind >> 2) + 1
        count += 1
    begins[count] = size
    return count
