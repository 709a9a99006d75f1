import pytest

from src.llm.asking.verdict import fold, verdict

NAMES = {fold(name): name for name in ("Positive", "negative", "n/a", "very good", "c++")}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Positive", "Positive"),
        ("  NEGATIVE.\n", "negative"),
        ('"positive"', "Positive"),
        ("**positive**", "Positive"),
        ("“n/a”", "n/a"),
        ("Very good!", "very good"),
        ("C++", "c++"),
        ('{"label": "positive"}', "Positive"),
        (' {"label": " Negative. ", "why": "…"}\n', "negative"),
        ("not positive", None),
        ("positive or negative", None),
        ("Label: positive", None),
        ("positively", None),
        ("", None),
        ("...", None),
        ('{"label": "fine"}', None),
        ('{"label": ["positive"]}', None),
        ('{"class": "positive"}', None),
        ('{"label": "positive"', None),
        ("{" * 100_000, None),
        ('{"a":' * 50_000, None),
    ],
)
def test_only_a_class_and_nothing_else_counts(answer, expected):
    assert verdict(answer, NAMES) == expected
