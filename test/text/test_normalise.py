import pytest

from src.text.normalise import normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("“Don’t,” she said", '"Don\'t," she said'),
        ("wait—what", "wait--what"),
        ("the _Sunday_ paper", "The Sunday\n   paper"),
        ("ﬁne Ｗｉｄｅ", "fine wide"),
        ("soft\u00adhyphen", "softhyphen"),
        ("STRASSE", "straße"),
        ("it´s", "it's"),
    ],
)
def test_typography_makes_no_difference(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_words_that_differ_stay_different() -> None:
    assert normalise("snake_case") == "snake_case"
    assert normalise("a b") != normalise("ab")


def test_twice_is_once() -> None:
    text = "“ΐ” ‑‑ _x_ __y ´ ﬃ İ"
    assert normalise(normalise(text)) == normalise(text)
