import pytest

from src.text.shingles import shingles, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("don't stop-it, 3.5 a_b", ["don", "t", "stop", "it", "3", "5", "a_b"]),
        ("żółw füße", ["żółw", "füße"]),
        ("東京都 is 東", ["東", "京", "都", "is", "東"]),
        ("ipad用かな", ["ipad", "用", "か", "な"]),
        ("𠀋𠂢 x", ["𠀋", "𠂢", "x"]),
        ("🚀 …", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_ideographs_stand_alone(text, expected):
    assert words(text) == expected


def test_shingles_are_all_runs_of_five_words():
    assert shingles("a, b c d e f.") == ["a b c d e", "b c d e f"]
    assert shingles("a b c", 2) == ["a b", "b c"]


def test_a_text_under_five_words_is_one_shingle_signs_included():
    assert shingles("a b c d!") == ["a b c d!"]
    assert shingles("🚀🚀") == ["🚀🚀"]
    assert shingles("") == [""]
