import random
import tracemalloc

import numpy as np
import pytest

from src.text.minhash import PERMUTATIONS, band_keys, jaccard, rows_for, shingle_hashes, signature
from src.text.shingles import shingles

WORDS = [f"w{number:x}" for number in range(5000)]


def pair(rng, words, changed):
    """A text, and the same with some words replaced."""
    text = rng.choices(WORDS, k=words)
    other = list(text)
    for place in rng.sample(range(words), changed):
        other[place] = rng.choice(WORDS)
    return " ".join(text), " ".join(other)


def truth(one, other):
    one, other = set(shingles(one)), set(shingles(other))
    return len(one & other) / len(one | other)


def test_hashes_are_the_same_in_every_version():
    # a change here makes every saved sketch worthless
    hashes = shingle_hashes("the cat sat on the mat")
    assert hashes.tolist() == [560719602, 4007408794]
    assert signature(hashes)[:3].tolist() == [1042255652, 3408450789, 1972607623]
    assert int(band_keys(signature(hashes), 6)[0]) == 6665689281558896185


def test_hashes_stand_for_the_shingles_of_a_text():
    rng = random.Random(1)
    text = " ".join(rng.choices(WORDS[:30], k=400)) + " żółw füße 東京都に行く"
    hashes = shingle_hashes(text)
    assert len(hashes) == len(set(shingles(text)))
    assert (np.diff(hashes.astype(np.int64)) > 0).all()


def test_hashes_tell_words_apart_by_letters_their_order_and_where_they_end():
    texts = ["ab cd ef gh ij", "ba cd ef gh ij", "abc d ef gh ij", "cd ab ef gh ij", "ab cd ef gh i", "ab cd ef gh ij kl", "ab cd ef gh"]
    assert len({tuple(shingle_hashes(text)) for text in texts}) == len(texts)
    assert jaccard(shingle_hashes("ab, cd ef gh ij"), shingle_hashes("ab cd (ef) gh ij")) == 1


@pytest.mark.parametrize("text", ["", "!!!", "one two", "\ud800 bad"])
def test_short_texts_have_one_hash_and_equal_only_themselves(text):
    assert len(shingle_hashes(text)) == 1
    assert jaccard(shingle_hashes(text), shingle_hashes(text)) == 1
    assert jaccard(shingle_hashes(text), shingle_hashes(text + " x")) == 0


def test_words_hashed_in_blocks_are_hashed_alike(monkeypatch):
    text = " ".join(f"word{number}" for number in range(100))
    whole = shingle_hashes(text)
    monkeypatch.setattr("src.text.minhash._WORDS", 7)
    assert (shingle_hashes(text) == whole).all()


def test_jaccard_is_that_of_the_sets():
    rng = random.Random(2)
    for changed in range(0, 60, 5):
        one, other = pair(rng, 120, changed)
        assert jaccard(shingle_hashes(one), shingle_hashes(other)) == pytest.approx(truth(one, other))
    nothing = np.array([], np.uint32)
    assert jaccard(nothing, nothing) == 1
    assert jaccard(nothing, shingle_hashes("x")) == 0


def test_signatures_agree_as_often_as_the_jaccard_says():
    rng = random.Random(3)
    errors = []
    for _ in range(150):
        one, other = pair(rng, 200, rng.randint(2, 25))
        agree = np.mean(signature(shingle_hashes(one)) == signature(shingle_hashes(other)))
        errors.append(agree - truth(one, other))
    assert abs(np.mean(errors)) < 0.015
    assert np.std(errors) < 0.06


def test_two_texts_above_the_threshold_share_a_band():
    rng = random.Random(4)
    found = []
    while len(found) < 400:
        one, other = pair(rng, rng.randint(30, 300), rng.randint(1, 8))
        if 0.8 <= truth(one, other) < 0.9:
            keys = [band_keys(signature(shingle_hashes(text)), rows_for(0.8)) for text in (one, other)]
            found.append(bool((keys[0] == keys[1]).any()))
    assert np.mean(found) >= 0.99


def test_bands_follow_the_threshold():
    assert rows_for(0.8) == 6
    assert [rows_for(threshold) for threshold in (0.3, 0.5, 0.9, 1.0)] == [2, 3, 9, 126]
    assert rows_for(0.001) == 1
    assert band_keys(np.zeros((4, PERMUTATIONS), np.uint32), 6).shape == (4, 21)


def test_a_book_needs_little_memory():
    text = " ".join(random.Random(5).choices(WORDS, k=600_000))
    tracemalloc.start()
    signature(shingle_hashes(text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) > 2_900_000
    assert peak < 120e6
