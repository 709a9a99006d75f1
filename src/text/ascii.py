"""Kernels that fold texts of ASCII characters alone, which most are: eight at a time, and those by vectors of the processor."""

import numpy as np

from src.text.jit import helper, load64, ones, store64, trailing_zeros

U64 = np.uint64
EACH = U64(0x0101010101010101)
HIGH = U64(0x8080808080808080)
MIX = U64(0x9E3779B97F4A7C15)
MIX2 = U64(0xD6E8FEB86659FD93)
ENDS, LETTERS, MARKS, LAST, WORDS, OPEN = range(6)
"""What is counted on the way: bytes written; letters and marks; hash of the marks; the last mark; words begun; 1 within one."""
STATE = 6


_MARKED, _OTHERS = U64(1 << 63), U64(1 << 62)


@helper
def mark(state, character):  # type: ignore[no-untyped-def]
    """Take a mark in, and after how many words it stands; several dashes are one."""
    if character == U64(0x60):
        character = U64(0x27)
    here = state[WORDS] << U64(24) | character
    if character == U64(0x2D) and here == state[LAST]:
        return
    state[LAST] = here
    state[LETTERS] += U64(1)
    state[MARKS] = (state[MARKS] ^ here) * MIX
    state[MARKS] ^= state[MARKS] >> U64(29)


@helper
def take_marks(marks, eight, begins, words, state):  # type: ignore[no-untyped-def]
    """Take in the marks among eight ASCII characters."""
    while marks != U64(0):
        at = trailing_zeros(marks)
        state[WORDS] = words + ones(begins & ((U64(1) << at) - U64(1)))
        mark(state, eight >> (at - U64(7)) & U64(0xFF))
        marks &= marks - U64(1)


@helper
def letters_of(eight):  # type: ignore[no-untyped-def]
    """The highest bits of those of eight lower-case ASCII characters that are part of a word."""
    letters = (eight + EACH * U64(0x1F)) & ~(eight + EACH * U64(0x05))
    return (letters | ((eight + EACH * U64(0x50)) & ~(eight + EACH * U64(0x46)))) & HIGH


@helper
def lower(eight):  # type: ignore[no-untyped-def]
    """Eight ASCII characters in lower case."""
    return eight | ((eight + EACH * U64(0x3F)) & ~(eight + EACH * U64(0x25)) & HIGH) >> U64(2)


@helper
def marks_of(eight, letters):  # type: ignore[no-untyped-def]
    """The highest bits of the marks among eight ASCII characters."""
    return (eight + EACH * U64(0x5F)) & ~(eight + EACH) & ~letters & HIGH


@helper
def _lowered(text, start, groups, out):  # type: ignore[no-untyped-def]
    """Fold whole groups of eight; how many letters there are, with _MARKED where there is a mark, _OTHERS where not all is ASCII."""
    high = marks = count = U64(0)
    for group in range(groups):  # without a branch, so that it becomes vectors
        at = np.int64(group) << 3
        eight = load64(text, start + at)
        high |= eight
        eight = lower(eight)
        letters = letters_of(eight)
        marks |= marks_of(eight, letters)
        count += ones(letters)
        store64(out, at, eight & ((letters >> U64(7)) * U64(0xFF)))
    if marks != U64(0):
        count |= _MARKED
    return count | _OTHERS if high & HIGH != U64(0) else count


@helper
def _marked(text, start, end, out, state):  # type: ignore[no-untyped-def]
    """Take in the marks of a text that was folded, but for those in its last bytes that are no whole group."""
    words = within = U64(0)
    for at in range(0, (end - start) & ~7, 8):
        letters = (load64(out, at) + EACH * U64(0x7F)) & HIGH
        begins = letters & ~(letters << U64(8) | within << U64(7))
        within = letters >> U64(63)
        eight = load64(text, start + at)
        marks = marks_of(eight, letters)
        if marks != U64(0):
            take_marks(marks, eight, begins, words, state)
        words += ones(begins)
    state[WORDS] = words
    state[OPEN] = within


@helper
def fold_ascii(text, start, end, out, state):  # type: ignore[no-untyped-def]
    """Fold a text, but for its last bytes that are no whole group of eight; False where not all of it is ASCII."""
    groups = (end - start) >> 3
    left = (end - start) & 7
    last = load64(text, end - left) & ((U64(1) << (U64(left) << U64(3))) - U64(1))
    found = _lowered(text, start, groups, out)
    if last & HIGH != U64(0) or found & _OTHERS != U64(0):
        return False
    state[LETTERS] = found & ~(_OTHERS | _MARKED)
    low = lower(last)
    if found & _MARKED != U64(0) or marks_of(low, letters_of(low)) != U64(0):  # else the number of words is of no account
        _marked(text, start, end, out, state)
    return True
