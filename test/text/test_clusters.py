import random

import pytest

from src.text import clusters as module
from src.text.clusters import clusters
from src.text.minhash import jaccard, shingle_hashes

WORDS = [f"w{number:x}" for number in range(20000)]


def changed(rng, words, count):
    other = list(words)
    for place in rng.sample(range(len(words)), count):
        other[place] = rng.choice(WORDS)
    return other


def corpus(seed, families):
    """Families of texts that are alike to many degrees, around and far from 0.8."""
    rng = random.Random(seed)
    texts = []
    for _ in range(families):
        first = rng.choices(WORDS, k=rng.randint(20, 200))
        texts += [first, *(changed(rng, first, rng.randint(0, 6)) for _ in range(3))]
    return [shingle_hashes(" ".join(words)) for words in texts]


def brute(hashes, threshold):
    return {(a, b) for a in range(len(hashes)) for b in range(a) if jaccard(hashes[a], hashes[b]) >= threshold}


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_pairs_over_the_threshold_meet_and_no_others(threshold):
    hashes = corpus(1, 100)
    found = clusters(hashes, threshold=threshold)
    pairs = brute(hashes, threshold)
    assert len(pairs) > 50
    assert sum(found.root(a) == found.root(b) for a, b in pairs) / len(pairs) >= 0.99
    for one, (other, likeness) in found.links.items():
        assert likeness == jaccard(hashes[one], hashes[other]) >= threshold
        assert found.root(one) == found.root(other)
    joined = [number for number in range(len(hashes)) if found.root(number) != number]
    assert all(number in found.links for number in joined)


def test_a_chain_becomes_one_group():
    words = WORDS[:100]
    texts = [words[start : start + 60] for start in range(0, 30, 5)]  # each shares 11/12 with the next, the ends hardly anything
    hashes = [shingle_hashes(" ".join(text)) for text in texts]
    assert jaccard(hashes[0], hashes[-1]) < 0.5
    found = clusters(hashes, threshold=0.8)
    assert {found.root(number) for number in range(len(texts))} == {0}


def test_a_bucket_of_thousands_costs_no_square(monkeypatch):
    monkeypatch.setattr(module, "CAP", 4)
    rng = random.Random(2)
    template = rng.choices(WORDS, k=60)
    hashes = [shingle_hashes(" ".join(template + rng.choices(WORDS, k=40))) for _ in range(300)]
    found = clusters(hashes, threshold=0.8)
    assert found.compared < 300 * 21 * 4
    assert all(found.root(number) == number for number in range(300))


def test_texts_of_unlike_sizes_are_not_even_compared():
    long = " ".join(WORDS[:100])
    hashes = [shingle_hashes(long), shingle_hashes(" ".join(WORDS[:50]))]
    assert clusters(hashes, threshold=0.3).compared == 1
    assert clusters(hashes, threshold=0.8).compared == 0


@pytest.mark.parametrize("count", [0, 1])
def test_few_texts(count):
    found = clusters([shingle_hashes("a b c d e f")] * count, threshold=0.8)
    assert [found.root(number) for number in range(count)] == list(range(count))
