import pytest

from src.text.clean import Clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain & simple", "plain & simple"),
        ("cafe\u0301", "café"),
        ("a\0b\x07c\td\r\ne\x7f", "abc\td\r\ne"),
        ("page\x0cone\x0bline", "page\none\nline"),
        ("zero\u200bwidth\ufeff, soft\u00adhyphen, \u202eright\u202c", "zerowidth, softhyphen, right"),
        ("l\u200din joiner", "lin joiner"),
        ("👩\u200d👧 stays, and نمی\u200cخواهم", "👩\u200d👧 stays, and نمی\u200cخواهم"),
        ("donâ€™t, cafÃ©", "don’t, café"),
        ("dont say naïve, Ã la mode?", "dont say naïve, Ã la mode?"),
        ("It\x92s \x93fine\x94 – é", "It’s “fine” – é"),
        ("AT&amp;T", "AT&amp;T"),
        ("ﬁne ²", "ﬁne ²"),
    ],
)
def test_cleaning_changes_what_is_broken_only(text, clean):
    assert Clean().apply(text) == clean


def test_each_step_can_be_chosen():
    assert Clean(unicode="NFKC").apply("ﬁne ²") == "fine 2"
    assert Clean(entities=True).apply("AT&amp;T &lt;3") == "AT&T <3"
    bare = Clean(unicode="as_is", control=False, unseen=False, mojibake=False)
    assert bare.apply("donâ€™t \0 e\u0301 \u200b") == "donâ€™t \0 e\u0301 \u200b"


def test_a_good_line_beside_a_bad_one_stays():
    assert Clean().apply("Ünïcode “fine”\nbroken: â€œquoteâ€\x9d Ã¼ber\n") == "Ünïcode “fine”\nbroken: “quote” über\n"


def test_cleaning_twice_changes_nothing():
    text = "donâ€™t\0 cafe\u0301 \u200bx"
    once = Clean().apply(text)
    assert Clean().apply(once) == once
