"""Kernels that sketch texts: n-gram hashes, MinHash band keys, a 128-bit hash of the whole; and check what was sketched."""

import numpy as np

from src.text.ascii import ENDS, LETTERS, MARKS, MIX, MIX2, STATE, U64
from src.text.folded import GROWTH, fold, letter_hashes, word_hashes
from src.text.jit import helper, kernel, load64, store64

U32 = np.uint32
SLACK = 32
"""Bytes that have to be readable after the last text."""

BYTES, UNITS, GRAMS, TABLES = range(4)
"""What `sketch` may have too little of."""


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
def _whole(units, count, marks, out):  # type: ignore[no-untyped-def]
    """128 bits for the words and marks of a text in their order: two unlike hashes, each of the even words and of the odd ones."""
    a = c = U64(count)
    b = d = marks
    for place in range(0, count - 1, 2):
        one, other = units[place], units[place + 1]
        a = (a ^ one) * MIX
        b = (b ^ other) * MIX
        c = (c + one) * MIX2
        d = (d + other) * MIX2
        a ^= a >> U64(29)
        b ^= b >> U64(29)
        c ^= c >> U64(31)
        d ^= d >> U64(31)
    if count & 1:
        a = (a ^ units[count - 1]) * MIX
        a ^= a >> U64(29)
        c = (c + units[count - 1]) * MIX2
        c ^= c >> U64(31)
    first = (a * MIX2 ^ b) * MIX
    second = (c * MIX ^ d) * MIX2
    out[0] = first ^ first >> U64(32)
    out[1] = second ^ second >> U64(32)


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


@kernel("i8(u1*, i8*, i8*, i8, i8, i8, i8, u4*, u4*, u1*, u4*, u4*, u1*, u8*, u8*, u4*, i8*, u8**, u8**, i8*, u4*, i8*)")
def sketch(  # type: ignore[no-untyped-def]
    text,
    starts,
    stops,
    size,
    letters,
    telling,
    rows,
    factors,
    offsets,
    kinds,
    to,
    several,
    out,
    units,
    state,
    least,
    needs,
    keys,
    wholes,
    sizes,
    grams,
    ends,
):
    """Sketch texts.

    Args:
        text: Their UTF-8, with SLACK bytes after it.
        starts: Where each begins.
        stops: Where each ends.
        size: Words (or letters) in an n-gram.
        letters: Whether n-grams are of letters.
        telling: Whether texts of one n-gram meet by its 64 bits: 32 of them would take strangers for equals.
        rows: Minima in a band.
        factors: Of the maps.
        offsets: Of the maps.
        kinds: Table of `src.text.folding`; may be empty where all is ASCII.
        to: Likewise.
        several: Likewise.
        out: Scratch for a folded text.
        units: Scratch for its words or letters.
        state: Scratch of STATE numbers.
        least: Scratch of as many numbers as there are maps.
        needs: Out: how many bytes, units, n-grams, tables are needed, where they are not there.
        keys: Out, shape (bands, texts).
        wholes: Out, shape (texts, 2): 128-bit hash of the folded text.
        sizes: Out: letters and marks of the folded text.
        grams: Out: n-gram hashes.
        ends: Out: where the n-gram hashes of each text end; a text of fewer words has none.

    Returns:
        How many n-gram hashes there are, or -1 where something is too small.
    """
    total = np.int64(0)
    for number in range(starts.size):
        stop = _folded(text, starts[number], stops[number], letters, kinds, to, several, out, units, state, needs)
        if stop < 0:
            return -1
        store64(out, stop, U64(0))
        store64(out, stop + 8, U64(0))
        for band in range(keys.shape[0]):
            keys[band, number] = U64(0)
        sizes[number] = np.int64(state[LETTERS])
        count = word_hashes(out, stop, units)
        _whole(units, count, state[MARKS], wholes[number])
        if letters:
            count = letter_hashes(out, stop, units)
        if total + count > grams.size:
            needs[GRAMS] = total + count
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


@helper
def _folded(text, start, end, letters, kinds, to, several, out, units, state, needs):  # type: ignore[no-untyped-def]
    """Fold a text; where the folded one ends, or -1 where there is too little room."""
    needs[BYTES] = end - start + 64
    if needs[BYTES] > out.size:
        return np.int64(-1)
    for place in range(STATE):
        state[place] = U64(0)
    if not fold(text, start, end, out, state, kinds, to, several, not letters, False):
        needs[TABLES] = 1
        needs[BYTES] = GROWTH * (end - start) + 64
        if kinds.size == 0 or needs[BYTES] > out.size:
            return np.int64(-1)
        for place in range(STATE):
            state[place] = U64(0)
        fold(text, start, end, out, state, kinds, to, several, not letters, True)
    stop = np.int64(state[ENDS])
    needs[UNITS] = (stop if letters else stop // 2) + 8
    return stop if needs[UNITS] <= units.size else np.int64(-1)


@kernel("u8(u1*)")
def checksum(data):  # type: ignore[no-untyped-def]
    """A sum that any flipped, missing or moved byte changes, at the speed of memory."""
    a = b = c = d = U64(data.size)
    whole = data.size & ~31
    for place in range(0, whole, 32):
        a = (a ^ load64(data, place)) * MIX
        b = (b ^ load64(data, place + 8)) * MIX
        c = (c ^ load64(data, place + 16)) * MIX
        d = (d ^ load64(data, place + 24)) * MIX
        a ^= a >> U64(31)
        b ^= b >> U64(31)
        c ^= c >> U64(31)
        d ^= d >> U64(31)
    for place in range(whole, data.size):
        a = (a ^ U64(data[place])) * MIX
        a ^= a >> U64(31)
    return ((a * MIX2 ^ b) * MIX2 ^ c) * MIX2 ^ d
