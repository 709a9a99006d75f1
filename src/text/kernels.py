"""Kernels that sketch texts: n-gram hashes, MinHash band keys, a 128-bit hash of the whole; and check what was sketched."""

import numpy as np
from numba.core import types

from src.text.folded import ENDS, GROWTH, LETTERS, MARKS, MIX, MIX2, STATE, U64, fold, letter_hashes, word_hashes
from src.text.jit import I64S, U8S, U32S, U64S, helper, kernel, store64

U32 = np.uint32
SLACK = 32
"""Bytes that have to be readable after the last text."""

_U32 = types.Array(types.uint32, 1, "C")
_U64 = types.Array(types.uint64, 1, "C")


@helper
def ngram_hashes(units, count, size, out):  # type: ignore[no-untyped-def]
    """Hash every run of `size` of the hashed words or letters; how many. None where there are fewer."""
    if count < size:
        return 0
    total = count - size + 1
    if size == 5:
        for place in range(total):
            value = units[place] * MIX2 + units[place + 1]
            value = ((value * MIX2 + units[place + 2]) * MIX2 + units[place + 3]) * MIX2 + units[place + 4]
            mixed = (value ^ value >> U64(32)) * MIX
            out[place] = U32(mixed >> U64(32))
        return total
    value = U64(0)
    power = U64(1)
    for place in range(size):
        value = value * MIX2 + units[place]
        power *= MIX2
    for place in range(total):
        mixed = (value ^ value >> U64(32)) * MIX
        out[place] = U32(mixed >> U64(32))
        if place + 1 < total:
            value = value * MIX2 + units[place + size] - power * units[place]
    return total


@helper
def minhash(hashes, factors, offsets, out):  # type: ignore[no-untyped-def]
    """The least of a × hash + b modulo 2³² for each of the maps, four at a time (their number is divisible by 4)."""
    for at in range(0, factors.size, 4):
        a0, a1, a2, a3 = factors[at], factors[at + 1], factors[at + 2], factors[at + 3]
        b0, b1, b2, b3 = offsets[at], offsets[at + 1], offsets[at + 2], offsets[at + 3]
        m0 = m1 = m2 = m3 = U32(0xFFFFFFFF)
        for place in range(hashes.size):  # from 0: what might be negative is not vectorised
            value = hashes[place]
            m0 = min(m0, U32(value * a0 + b0))
            m1 = min(m1, U32(value * a1 + b1))
            m2 = min(m2, U32(value * a2 + b2))
            m3 = min(m3, U32(value * a3 + b3))
        out[at] = m0
        out[at + 1] = m1
        out[at + 2] = m2
        out[at + 3] = m3


@helper
def _whole(units, count, second, marks, out):  # type: ignore[no-untyped-def]
    """128 bits for the words and marks of a text in their order."""
    first = U64(count)
    for place in range(count):
        first = (first ^ units[place]) * MIX
        first ^= first >> U64(29)
    out[0] = (first ^ marks * MIX2) * MIX
    second = (second ^ marks) * MIX2 + U64(count)
    second ^= second >> U64(32)
    out[1] = second * MIX


@helper
def _keys(least, rows, keys, number):  # type: ignore[no-untyped-def]
    """One key for each band of minima."""
    for band in range(keys.shape[0]):
        value = U64(band + 1) * MIX2
        for row in range(rows):
            value = (value ^ U64(least[band * rows + row])) * MIX
            value ^= value >> U64(29)
        keys[band, number] = value


@helper
def _alone(units, size, keys, number):  # type: ignore[no-untyped-def]
    """Keys of a text with one n-gram, by 64 bits of it."""
    value = U64(0)
    for place in range(size):
        value = value * MIX2 + units[place]
    for band in range(keys.shape[0]):
        keys[band, number] = (value ^ U64(band + 1) * MIX2) * MIX


_SKETCH = types.int64(
    *(U8S, I64S, types.int64, types.boolean, types.boolean, types.int64, U32S, U32S, U8S, U32S, U32S),
    *(types.Array(types.uint64, 2, "C"), types.Array(types.uint64, 2, "C"), types.Array(types.int64, 1, "C"), _U32),
    *(types.Array(types.int64, 1, "C"),),
)


@kernel(_SKETCH)
def sketch(text, bounds, size, letters, telling, rows, factors, offsets, kinds, to, several, keys, wholes, sizes, grams, ends):  # type: ignore[no-untyped-def]
    """Sketch texts that lie one after another.

    Args:
        text: Their UTF-8, with SLACK bytes after it.
        bounds: Where each begins, and the last ends.
        size: Words (or letters) in an n-gram.
        letters: Whether n-grams are of letters.
        telling: Whether texts of one n-gram meet by its 64 bits: 32 of them would take strangers for equals.
        rows: Minima in a band.
        factors: Of the maps.
        offsets: Of the maps.
        kinds: Table of `src.text.folding`.
        to: Likewise.
        several: Likewise.
        keys: Out, shape (bands, texts).
        wholes: Out, shape (texts, 2): 128-bit hash of the folded text.
        sizes: Out: letters and marks of the folded text.
        grams: Out: n-gram hashes.
        ends: Out: where the n-gram hashes of each text end; a text of fewer words has none.

    Returns:
        How many n-gram hashes there are, or -1 where `grams` is too small.
    """
    out = np.empty(1 << 16, np.uint8)
    units = np.empty(1 << 14, np.uint64)
    state = np.empty(STATE, np.uint64)
    least = np.empty(factors.size, np.uint32)
    total = np.int64(0)
    for number in range(bounds.size - 1):
        start, end = bounds[number], bounds[number + 1]
        if end - start + 64 > out.size:
            out = np.empty(2 * (end - start) + 64, np.uint8)
        state[:] = U64(0)
        if not fold(text, start, end, out, state, kinds, to, several, not letters, False):
            if GROWTH * (end - start) + 64 > out.size:
                out = np.empty(GROWTH * (end - start) + 64, np.uint8)
            state[:] = U64(0)
            fold(text, start, end, out, state, kinds, to, several, not letters, True)
        stop = np.int64(state[ENDS])
        store64(out, stop, U64(0))
        store64(out, stop + 8, U64(0))
        if stop + 8 > units.size:
            units = np.empty(2 * stop + 8, np.uint64)
        keys[:, number] = U64(0)
        sizes[number] = np.int64(state[LETTERS])
        marks = state[MARKS]
        count = word_hashes(out, stop, units, state)
        _whole(units, count, state[0], marks, wholes[number])
        if letters:
            count = letter_hashes(out, stop, units)
        if total + count > grams.size:
            return -1
        found = ngram_hashes(units, count, size, grams[total:])
        ends[number] = total + found
        if found == 1 and telling:
            _alone(units, size, keys, number)
        elif found:
            minhash(grams[total : total + found], factors, offsets, least)
            _keys(least, rows, keys, number)
        total += found
    return total


@kernel(types.uint64(U64S))
def checksum(numbers):  # type: ignore[no-untyped-def]
    """A sum that any flipped, missing or moved number changes, at the speed of memory."""
    a = b = c = d = U64(numbers.size)
    whole = numbers.size & ~3
    for place in range(0, whole, 4):
        a = (a ^ numbers[place]) * MIX
        b = (b ^ numbers[place + 1]) * MIX
        c = (c ^ numbers[place + 2]) * MIX
        d = (d ^ numbers[place + 3]) * MIX
        a ^= a >> U64(31)
        b ^= b >> U64(31)
        c ^= c >> U64(31)
        d ^= d >> U64(31)
    for place in range(whole, numbers.size):
        a = (a ^ numbers[place]) * MIX
        a ^= a >> U64(31)
    return ((a * MIX2 ^ b) * MIX2 ^ c) * MIX2 ^ d
