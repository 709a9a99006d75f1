import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.text.ascii import STATE
from src.text.folding import ALONE, GAP, LETTER, PLANES, SEVERAL, SIGN, fold, folding, kind_of
from src.text.kernels import SLACK, checksum, sketch
from src.text.minhash import FACTORS, OFFSETS

ROOT = Path(__file__).parents[2]
MASK = 2**64 - 1
MIX, MIX2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
ROWS, BANDS = 6, 21


def sketched(texts, size=5, *, letters=False, telling=True, room=None):
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    bounds = np.concatenate([[0], np.cumsum([len(each) for each in data])]).astype(np.int64)
    text = np.frombuffer(b"".join(data) + bytes(SLACK), np.uint8)
    count, tables = len(texts), folding()
    keys, wholes = np.empty((BANDS, count), np.uint64), np.empty((count, 2), np.uint64)
    sizes, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    grams = np.empty(room or 20 * len(text), np.uint32)
    scratch = np.empty(20 * len(text), np.uint8), np.empty(20 * len(text), np.uint64), np.empty(STATE, np.uint64), np.empty(128, np.uint32)
    total = sketch(
        *(text, bounds[:-1], bounds[1:], size, letters, telling, ROWS, FACTORS, OFFSETS, tables.kind, tables.to, tables.several),
        *(*scratch, np.zeros(4, np.int64), keys, wholes, sizes, grams, ends),
    )
    return keys, wholes, sizes, np.split(grams[:total], ends)[:count], total


# a slow second implementation, a character and a number at a time


def folded(text, letters):
    """Words, how many letters and marks, and the hash of the marks."""
    found, current, count, marks, last = [], "", 0, 0, None
    for character in text:
        point = ord(character)
        several = fold(character) if point < PLANES and not 0xAC00 <= point < 0xD7A4 else character
        for each in several:
            kind = kind_of(each) if ord(each) < PLANES else (ALONE if ord(each) < 0x40000 else SIGN)
            if kind == ALONE and letters:
                kind = LETTER
            if kind == LETTER:
                current += each
                count += 1
                continue
            found += [current] if current else []
            current = ""
            if kind == ALONE:
                found.append(each)
                count += 1
            elif kind == SIGN:
                here = len(found) << 24 | ord(each)
                if not (each == "-" and here == last):
                    last, count = here, count + 1
                    marks = (marks ^ here) * MIX & MASK
                    marks ^= marks >> 29
    return found + ([current] if current else []), count, marks


def word_hash(word):
    data = word.encode("utf-8", "surrogatepass")
    value = 0
    whole = len(data) // 8 * 8
    chunks = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    rest = data[whole:]
    chunks.append(int.from_bytes(rest, "little") ^ (len(rest) + 1) << 56)
    for chunk in chunks:
        value = (value ^ chunk) * MIX & MASK
        value ^= value >> 32
    return value


def whole_hash(units, marks):
    found = []
    for mix, last, shift, join in ((MIX, MIX2, 29, int.__xor__), (MIX2, MIX, 31, int.__add__)):
        lanes = [len(units), marks]
        for place, unit in enumerate(units):
            value = (join(lanes[place % 2], unit) & MASK) * mix & MASK
            lanes[place % 2] = value ^ value >> shift
        value = (lanes[0] * last & MASK ^ lanes[1]) * mix & MASK
        found.append(value ^ value >> 32)
    return tuple(found)


def reference(text, size, letters, telling):
    words, count, marks = folded(text, letters)
    units = [word_hash(word) for word in words]
    whole = whole_hash(units, marks)
    if letters:
        units = []
        for point in map(ord, " ".join(words)):
            value = point * MIX & MASK
            units.append(value if point == 32 else value ^ value >> 32)
    raw, grams = [], []
    for start in range(len(units) - size + 1):
        value = 0
        for unit in units[start : start + size]:
            value = (value * MIX2 + unit) & MASK
        raw.append(value)
        grams.append(((value ^ value >> 32) * MIX & MASK) >> 32)
    return whole, count, grams, banded(raw, grams, telling)


def banded(raw, grams, telling):
    if not grams:
        return [0] * BANDS
    if len(grams) == 1 and telling:
        return [(raw[0] ^ (band + 1) * MIX2 & MASK) * MIX & MASK for band in range(BANDS)]
    least = [min((gram * int(a) + int(b)) & 0xFFFFFFFF for gram in grams) for a, b in zip(FACTORS, OFFSETS, strict=True)]
    keys = []
    for band in range(BANDS):
        value = (band + 1) * MIX2 & MASK
        for one in least[band * ROWS : (band + 1) * ROWS]:
            value = (value ^ one) * MIX & MASK
            value ^= value >> 29
        keys.append(value)
    return keys


POOLS = [
    "abc xyz ABC 019 _-'`\"“”’—– \t\n\x00\x7f.,!?",
    "aé ñ Ü ß ﬁ Æ ż e\u0301 \u00ad\u200b½ Ⅷ ²",
    "東京 ab 。ひらがな ｶﾀ ㍿ 가나다 ไทย हिन्दी",
    "абв ЖЗИ αβΓ ΐ עברית العربية ﷺ",
    "😀𝐀𝔘 𠀀\U0003ffff \U00040000 \U0001f600 \U000e0001 \ud800 \uffff",
]


def random_text(rng):
    pool = rng.choice([*POOLS, "".join(POOLS)])
    if rng.random() < 0.2:
        return "".join(chr(rng.choice([rng.randrange(0x300), rng.randrange(0x11000), rng.randrange(0x110000)])) for _ in range(60))
    words = ["".join(rng.choices(pool, k=rng.randint(1, 20))) for _ in range(rng.randint(0, 20))]
    return rng.choice([" ", "", "\n"]).join(words)


@pytest.mark.parametrize(
    ("size", "letters", "telling"), [(5, False, True), (3, False, False), (1, False, True), (7, True, True), (24, True, False)]
)
def test_kernels_give_what_plain_python_gives(size, letters, telling):
    rng = random.Random(size)
    texts = [random_text(rng) for _ in range(150)]
    keys, wholes, sizes, grams, _ = sketched(texts, size, letters=letters, telling=telling)
    for number, text in enumerate(texts):
        whole, count, expected, bands = reference(text, size, letters, telling)
        assert tuple(wholes[number].tolist()) == whole, text
        assert sizes[number] == count
        assert grams[number].tolist() == expected
        assert keys[:, number].tolist() == bands


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("“Hello”,  World—now", '"hello", world -- NOW'),
        ("Café ﬁne ＡＢＣ", "cafe\u0301 fine abc"),
        ("soft\u00adhyphen \u200bzero", "softhyphen zero"),
        ("STRASSE", "straße"),
        (" a\tb\n", "a b"),
        ("can’t", "can`t"),
    ],
)
def test_texts_that_differ_in_typography_only_are_equal(one, other):
    wholes = sketched([one, other])[1]
    assert wholes[0].tolist() == wholes[1].tolist()


def test_texts_that_differ_in_words_marks_or_their_order_are_not_equal():
    texts = [
        "a b",
        "ab",
        "b a",
        "a, b",
        "a b,",
        ",a b",
        "a b c",
        "",
        ".",
        "..",
        "😀",
        "😁",
        "東京",
        "京東",
        "a.b",
        "abcdefgh",
        "abcdefg h",
        "abcdefghi",
    ]
    assert len({tuple(each) for each in sketched(texts)[1].tolist()}) == len(texts)


def test_a_text_of_fewer_words_has_no_runs_and_one_ideograph_is_a_word():
    grams = sketched(["one two three four", "one two three four five", "東京都に行く", "ab cd"])[3]
    assert [len(each) for each in grams] == [0, 1, 2, 0]


def test_texts_of_one_run_meet_by_64_bits_of_it_only():
    texts = [" ".join(f"w{number}-{word}" for word in range(5)) for number in range(2000)]
    keys = sketched(texts, size=10)[0]
    assert len(set(keys[0].tolist())) == 2000


def test_too_little_room_is_told():
    assert sketched(["a b c d e f g h"], room=1)[4] == -1


def test_a_text_of_a_million_words():
    rng = random.Random(3)
    text = " ".join(f"w{rng.randrange(100000)}" for _ in range(1_000_010))
    assert len(sketched([text, text + " é"])[3][1]) == 1_000_007


def test_the_tables_know_what_unicode_knows():
    tables = folding()
    kinds = {
        " ": GAP,
        "\x07": GAP,
        "\u2003": GAP,
        "a": LETTER,
        "_": SIGN,
        "東": ALONE,
        "ﬁ": SEVERAL,
        "٣": LETTER,
        "😀": SIGN,
        "\u0301": LETTER,
    }
    assert {character: int(tables.kind[ord(character)]) for character in kinds} == kinds


def test_a_checksum_sees_any_change():
    numbers = np.arange(1003, dtype=np.uint64)
    once = checksum(numbers.view(np.uint8))
    for place in (0, 500, 1000, 1001, 1002):
        changed = numbers.copy()
        changed[place] ^= np.uint64(1 << 40)
        assert checksum(changed.view(np.uint8)) != once
    assert checksum(numbers[:-1].view(np.uint8)) != once
    assert checksum(np.append(numbers, np.uint64(0)).view(np.uint8)) != once
    assert checksum(np.roll(numbers, 4).view(np.uint8)) != once


def test_where_nothing_can_be_cached_kernels_are_compiled_all_the_same(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = "import src.text.jit as jit;f = jit.kernel('i8(i8)')(lambda x: x + 1); print(f(1))"
    environment = {**os.environ, "XDG_CACHE_HOME": str(blocked / "no")}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)
    assert done.stdout == "2\n", done.stderr
