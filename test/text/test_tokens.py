"""The estimate of tokens against counts of the Llama 3 tokenizer, noted down."""

import pytest

from src.text.tokens import estimate_tokens

TWAIN = (
    "You don't know about me without you have read a book by the name of The Adventures of Tom Sawyer; but that ain't no matter. "
    "That book was made by Mr. Mark Twain, and he told the truth, mainly. "
    "There was things which he stretched, but mainly he told the truth."
)


@pytest.mark.parametrize(("text", "counted"), [(TWAIN, 62), ("Hello world", 2), ("", 0)])
def test_estimate(text: str, counted: int) -> None:
    assert estimate_tokens(text) == pytest.approx(counted, rel=0.12, abs=0)


def test_other_languages_take_more_tokens_a_word() -> None:
    german = "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett verwandelt."
    assert estimate_tokens(german) > 1.4 * len(german.split())


def test_scripts_without_blanks_are_counted_by_letters() -> None:
    assert estimate_tokens("我来了你好") == 5
    assert estimate_tokens("привет") >= 3
