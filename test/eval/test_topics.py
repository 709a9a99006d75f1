"""A judge that goes by topics is found out: on pairs of one topic, and once the words are stars."""

import numpy as np
import pytest

from src.eval.topics import distorted, likeness, matched, nearest_pairs

COMMON = ["the", "and", "of"]


def test_stars_keep_length_and_punctuation():
    assert distorted(["the gull, and the don't."], COMMON) == ["the ****, and the *****."]


def test_likeness_is_of_matter_alone():
    near = likeness(["the gull and the tide", "the tax"], ["of gull of tide", "and the and"], COMMON)
    assert near[0, 0] == pytest.approx(1)
    assert near[0, 1] == near[1, 0] == 0
    assert not likeness(["the and"], ["of"], COMMON).any()


def test_pairs_are_the_nearest_and_each_text_is_in_one():
    near = np.array([[0.9, 0.8, 0.0], [0.85, 0.1, 0.2]])
    assert nearest_pairs(near, 2) == [(0, 0), (1, 2)]
    assert nearest_pairs(near, 1) == [(0, 0)]


def test_only_the_nearest_count():
    texts = ["the gull sat", "the tax fell", "x y", "z w", "of gull sat", "of rain", "p q", "r s"]
    truth = np.array([True] * 4 + [False] * 4)
    found = truth.copy()
    found[4] = True  # taken for the persona's because it speaks of a gull
    told = matched(texts, truth, found, COMMON)
    assert told["pairs"] == 1
    assert told["accuracy"] == 0.5
    assert told["likeness"] == pytest.approx(1)
    assert told["any"] < 0.1
