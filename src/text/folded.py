"""Kernels that fold a text: its words in one spelling with a 0 between any two, and a hash of the marks between them."""

import numpy as np

from src.text.ascii import EACH, ENDS, HIGH, LETTERS, MIX, OPEN, U64, WORDS, fold_ascii, letters_of, lower, mark, marks_of, take_marks
from src.text.folding import ALONE, LETTER, PLANES, SEVERAL, SIGN, UNSEEN
from src.text.jit import helper, load64, ones, store64, trailing_zeros

GROWTH = 12
"""Bytes that one byte may fold to, at most 11 (U+FDFA)."""


@helper
def _ascii(text, start, end, out, place, state):  # type: ignore[no-untyped-def]
    """Fold ASCII characters, eight at once, up to the first eight with another one among them; how many."""
    words, within, count = state[WORDS], state[OPEN], U64(0)
    first = start
    while start < end:
        eight = load64(text, start)
        left = end - start
        if left < 8:
            eight &= (U64(1) << (U64(left) << U64(3))) - U64(1)
        if eight & HIGH != U64(0):
            break
        eight = lower(eight)
        letters = letters_of(eight)
        store64(out, place + start - first, eight & ((letters >> U64(7)) * U64(0xFF)))
        begins = letters & ~(letters << U64(8) | within << U64(7))
        within = letters >> U64(63)
        marks = marks_of(eight, letters)
        if marks != U64(0):
            take_marks(marks, eight, begins, words, state)
        words += ones(begins)
        count += ones(letters)
        start += min(left, 8)
    state[WORDS] = words
    state[OPEN] = within
    state[LETTERS] += count
    return start - first


@helper
def put(point, out, place):  # type: ignore[no-untyped-def]
    """Write one character in UTF-8; the place after it."""
    if point < 0x80:
        out[place] = point
        return place + 1
    if point < 0x800:
        out[place] = 0xC0 | point >> 6
        out[place + 1] = 0x80 | point & 63
        return place + 2
    if point < 0x10000:
        out[place] = 0xE0 | point >> 12
        out[place + 1] = 0x80 | (point >> 6) & 63
        out[place + 2] = 0x80 | point & 63
        return place + 3
    out[place] = 0xF0 | point >> 18
    out[place + 1] = 0x80 | (point >> 12) & 63
    out[place + 2] = 0x80 | (point >> 6) & 63
    out[place + 3] = 0x80 | point & 63
    return place + 4


@helper
def _take(point, kind, out, place, state):  # type: ignore[no-untyped-def]
    """Take in one folded character; the place after it."""
    if kind == LETTER:
        if state[OPEN] == U64(0):
            state[WORDS] += U64(1)
            state[OPEN] = U64(1)
        state[LETTERS] += U64(1)
        return put(point, out, place)
    state[OPEN] = U64(0)
    out[place] = 0
    place += 1
    if kind == ALONE:
        state[WORDS] += U64(1)
        state[LETTERS] += U64(1)
        place = put(point, out, place)
        out[place] = 0
        return place + 1
    if kind == SIGN:
        mark(state, U64(point))
    return place


@helper
def _point(text, place):  # type: ignore[no-untyped-def]
    """The character that begins at a place of UTF-8, and in the lowest 3 bits how many bytes it has."""
    first = np.int64(text[place])
    if first < 0x80:
        return first << 3 | 1
    if first < 0xE0:
        return ((first & 31) << 6 | (np.int64(text[place + 1]) & 63)) << 3 | 2
    second = np.int64(text[place + 1]) & 63
    if first < 0xF0:
        return ((first & 15) << 12 | second << 6 | (np.int64(text[place + 2]) & 63)) << 3 | 3
    third = np.int64(text[place + 2]) & 63
    return ((first & 7) << 18 | second << 12 | third << 6 | (np.int64(text[place + 3]) & 63)) << 3 | 4


@helper
def _other(point, out, place, state, kinds, to, several, alone):  # type: ignore[no-untyped-def]
    """Take in what a character folds to, by the tables; the place after it."""
    kind = np.int64(kinds[point]) if point < PLANES else np.int64(ALONE if point < 0x40000 else SIGN)
    if kind == UNSEEN:
        return place
    if kind != SEVERAL:
        point = np.int64(to[point]) if point < PLANES else point
        return _take(point, LETTER if kind == ALONE and not alone else kind, out, place, state)
    first = np.int64(to[point]) + 1
    for at in range(first, first + several[first - 1]):
        each = np.int64(several[at])
        kind = np.int64(kinds[each]) if each < PLANES else np.int64(ALONE)
        place = _take(each, LETTER if kind == ALONE and not alone else kind, out, place, state)
    return place


@helper
def fold(text, start, end, out, state, kinds, to, several, alone, wide):  # type: ignore[no-untyped-def]
    """Fold UTF-8, eight ASCII characters at a time, others by the tables of `src.text.folding`.

    Unless `alone`, ideographs are letters of words. Unless `wide`, False at the first character that is not ASCII.
    """
    place = np.int64(0)
    if not wide:
        if not fold_ascii(text, start, end, out, state):
            return False
        place = (end - start) & ~7
        start += place
    while start < end:
        passed = _ascii(text, start, end, out, place, state)
        start += passed
        place += passed
        stop = min(start + 8, end)
        while start < stop:
            found = _point(text, start)
            start += found & 7
            point = found >> 3
            if point < PLANES and kinds[point] == LETTER and state[OPEN] != U64(0) and 0x80 <= to[point] < 0x800:
                out[place] = 0xC0 | to[point] >> 6
                out[place + 1] = 0x80 | to[point] & 63
                place += 2
                state[LETTERS] += U64(1)
            else:
                place = _other(point, out, place, state, kinds, to, several, alone)
    state[ENDS] = U64(place)
    return True


@helper
def word_hashes(out, end, hashes):  # type: ignore[no-untyped-def]
    """Hash each word of a folded text, eight bytes a step; how many."""
    place = np.int64(0)
    count = np.int64(0)
    while True:
        eight = load64(out, place)
        while eight & U64(0xFF) == U64(0):
            if place >= end:
                return count
            place += np.int64(8) if eight == U64(0) else np.int64(trailing_zeros(eight) >> U64(3))
            eight = load64(out, place)
        value = U64(0)
        while True:
            zeros = (eight - EACH) & ~eight & HIGH
            if zeros != U64(0):
                break
            value = (value ^ eight) * MIX
            value ^= value >> U64(32)
            place += 8
            eight = load64(out, place)
        size = trailing_zeros(zeros) >> U64(3)
        eight &= (U64(1) << (size << U64(3))) - U64(1)
        eight ^= (size + U64(1)) << U64(56)
        value = (value ^ eight) * MIX
        value ^= value >> U64(32)
        hashes[count] = value
        count += 1
        place += np.int64(size) + 1


@helper
def letter_hashes(out, end, hashes):  # type: ignore[no-untyped-def]
    """Hash each character of a folded text, one blank between words; how many."""
    place = np.int64(0)
    count = np.int64(0)
    waiting = False
    while place < end:
        found = _point(out, place)
        place += found & 7
        point = found >> 3
        if point == 0:
            if count > 0:
                waiting = True
            continue
        if waiting:
            hashes[count] = U64(0x20) * MIX
            count += 1
            waiting = False
        value = U64(point) * MIX
        hashes[count] = value ^ value >> U64(32)
        count += 1
    return count
