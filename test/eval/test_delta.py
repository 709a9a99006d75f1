"""Burrows' Delta: a mean of z-scored differences over common words, blind to what a text is about."""

import numpy as np
import pytest

from src.eval.delta import Delta

PERSONA = ["and the sea and the rock", "and a gull and the tide"]
OTHERS = ["the form of the office", "of the budget of a form"]
TEXTS, TRUTH, SOURCES = [*PERSONA, *OTHERS], np.array([True, True, False, False]), ["a", "b", "c", "d"]


def test_it_is_the_mean_difference_of_z_scores():
    delta = Delta(most=4, share=0.5).fit(TEXTS, TRUTH, SOURCES)
    assert set(delta.words) == {"the", "and", "of", "a"}  # in two of four documents or more, but for `form`, which is rarer
    rates = np.array([[text.split().count(word) / len(text.split()) for word in delta.words] for text in [*TEXTS, "and the gull"]])
    scores = (rates - rates[:4].mean(0)) / rates[:4].std(0)
    wanted = abs(scores[4] - scores[2:4].mean(0)).mean() - abs(scores[4] - scores[:2].mean(0)).mean()
    assert delta.nearer(["and the gull"])[0] == pytest.approx(wanted)
    assert wanted > 0


def test_what_a_text_is_about_does_not_count():
    delta = Delta(most=4, share=0.5).fit(TEXTS, TRUTH, SOURCES)
    assert delta.nearer(["and the gull and the tide"]) == delta.nearer(["and the tax and the clerk"])
    assert delta.nearer(["of the tide of the gull"])[0] < 0


def test_a_text_without_a_word_is_nobodys():
    assert np.isfinite(Delta().fit(TEXTS, TRUTH, SOURCES).nearer(["", "123 !"])).all()
