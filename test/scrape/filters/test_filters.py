"""Each text is made to break one rule, and is dropped with that rule's reason."""

import pickle

import pytest
from pydantic import TypeAdapter, ValidationError

from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.filters import Filter
from src.scrape.judge import Judge


def judge(text: str, meta: dict | None = None, **settings: object) -> Record | Drop:
    part = TypeAdapter(Filter).validate_python(settings)
    assert pickle.loads(pickle.dumps(part)) == part
    return part.apply(Record("r", text, meta or {}))


def reason(text: str, meta: dict | None = None, **settings: object) -> str:
    found = judge(text, meta, **settings)
    return found.reason if isinstance(found, Drop) else "kept"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"min_words": 4}, "too_short"),
        ({"min_words": 3}, "kept"),
        ({"max_words": 2}, "too_long"),
        ({"min_chars": 14}, "too_short"),
        ({"max_chars": 12}, "too_long"),
        ({"min_chars": 13, "max_chars": 13}, "kept"),
    ],
)
def test_length(settings, expected) -> None:
    assert reason("one two three", type="length", **settings) == expected


def test_licence() -> None:
    rule = {"type": "licence", "allow": ["CC BY 4.0", "public domain*"]}
    assert reason("t", {"licence": "cc by 4.0"}, **rule) == "kept"
    assert reason("t", {"licence": "Public Domain in the USA"}, **rule) == "kept"
    assert reason("t", {"licence": "CC BY-NC 4.0"}, **rule) == "licence"
    assert reason("t", {}, **rule) == "no_licence"
    assert reason("t", {}, unstated="keep", **rule) == "kept"


def test_regex() -> None:
    assert reason("Buy NOW", type="regex", pattern="(?i)buy now", reason="spam") == "spam"
    assert reason("no offer", type="regex", pattern="(?i)buy now") == "kept"
    assert reason("no offer", type="regex", pattern=r"\$[A-Z]+", keep="matching") == "regex"
    assert reason("$TSLA up", type="regex", pattern=r"\$[A-Z]+", keep="matching") == "kept"
    assert reason("t", {"url": "https://x.org/tag/a"}, type="regex", pattern="/tag/", field="url") == "regex"
    assert reason("t", type="regex", pattern="^$", field="url") == "regex"
    with pytest.raises(ValidationError, match="no regular expression"):
        judge("t", type="regex", pattern="(")


def test_pii_is_masked_in_text_and_meta_and_counted() -> None:
    found = judge("Mail a@b.org or 93.184.216.34.", {"title": "by a@b.org", "url": "https://x.org/a@b.org", "n": 3}, type="pii")
    assert found == Record(
        "r", "Mail [EMAIL] or [IP].", {"title": "by [EMAIL]", "url": "https://x.org/a@b.org", "n": 3, "pii": {"email": 2, "ip": 1}}
    )
    assert judge("nobody", type="pii") == Record("r", "nobody")
    assert judge("Mail a@b.org or 93.184.216.34.", type="pii", kinds=["ip"]).text == "Mail a@b.org or [IP]."


def test_a_list_of_people_is_dropped_without_its_text() -> None:
    found = judge("a@b.org c@d.org", type="pii", most=1)
    assert (found.reason, found.detail, found.row) == ("pii", "email 2", None)


PAGE = "The first sentence is here. The second one follows it.\nAnd a third one ends the page."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PAGE, "kept"),
        (PAGE + " Lorem ipsum dolor.", "c4_lorem_ipsum"),
        (PAGE + "\nif (x) { y }", "c4_curly_brace"),
        (PAGE + " What a darn thing.", "c4_bad_word"),
        ("Home | About | Contact", "c4_no_line"),
        ("Only one sentence stands on this page.", "c4_sentences"),
    ],
)
def test_c4_pages(text, expected) -> None:
    assert reason(text, type="c4", bad_words=["darn"]) == expected


def test_c4_keeps_lines_that_are_sentences() -> None:
    lines = [
        "This line has five words.",
        "Only four words here.",
        "This line does not end with a mark",
        "This one trails off at the end...",
        "Please enable Javascript to see this page.",
        "We have a Privacy Policy and terms of use here.",
        "x" * 1001 + " is a very long word.",
        "He said that it was “fine.”",
        "It was proved [12] long ago [citation needed].",
    ]
    found = judge("\n".join(lines), type="c4")
    assert found.text.split("\n") == [lines[0], lines[7], "It was proved  long ago ."]
    assert reason("a {b} c d e. f g h i j. k l m n o.", type="c4", curly_braces=True, min_sentences=0) == "kept"


PROSE = (
    "The old man sat by the river and thought of the days that had gone. He had been young once, with a boat of his own "
    "and a wish to see what lay beyond the next bend. Nobody in the village remembered it now, but he did, and on warm "
    "evenings he told the story to whoever would stop and listen."
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, "kept"),
        ("too few words", "gopher_words"),
        ("a I " * 30, "gopher_word_length"),
        (PROSE + " #" * 7, "gopher_symbols"),  # 7 of 70
        (PROSE.replace(". ", "... ") + " x..." * 6, "gopher_symbols"),
        ("\n".join(f"- {word} and the letters of {number} others" for number, word in enumerate(PROSE.split()[:20])), "gopher_bullets"),
        (PROSE + "\n" + "and so on…\n" * 1, "gopher_ellipses"),
        (PROSE + " 1234" * 17, "gopher_letters"),
        ("Rivers run down " * 20, "gopher_stop_words"),
    ],
)
def test_gopher_quality(text, expected) -> None:
    assert reason(text, type="gopher", repetition=False) == expected


def test_gopher_shares_by_hand() -> None:
    from src.scrape.filters.gopher import _repeated_pieces, _repeated_share, _top_share

    # of 4 lines one stood before; it has 2 of 11 characters
    assert _repeated_pieces(["aa", "bbb", "aa", "cccc"]) == (1 / 4, 2 / 11)
    # "a b" stands twice, with 2 characters each; "ccc dd" once
    assert _top_share(["a", "b", "ccc", "dd", "a", "b"], 2) == 4
    # a run of 3 words comes again: b c d after a b c d; overlapping runs count their words once
    assert _repeated_share(["a", "b", "c", "d", "x", "a", "b", "c", "d"], 3) == 4
    assert _repeated_share(["a", "b", "c", "d"], 3) == 0
    assert _repeated_share(["x", "x", "x", "x", "x"], 2) == 4  # all but the first of five


def words(start: int, count: int) -> str:
    """Different words of five letters."""
    return " ".join(f"w{number:04d}" for number in range(start, start + count))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, "kept"),
        ("\n".join(["up"] * 4 + [words(100 * n, 9) for n in range(5)]), "gopher_lines"),  # 3 of 9 lines
        ("\n".join([words(0, 4), words(0, 4), *(words(100 * n, 5) for n in range(1, 3))]), "gopher_lines_chars"),  # 1 of 4 lines, 23 of 104
        ("\n\n".join(["up\nto"] * 3 + [words(100 * n, 9) + "\n" + words(100 * n + 50, 9) for n in range(3)]), "gopher_lines"),
        ("sea salt " * 12 + words(0, 60), "gopher_top_2gram"),  # 84 of 384 characters
        (" ".join(f"{words(0, 3)} {words(100 + n, 1)}" for n in range(5)) + " " + words(500, 60), "gopher_top_3gram"),  # 75 of 400
        (" ".join(f"{words(0, 4)} {words(100 + n, 1)}" for n in range(3)) + " " + words(500, 57), "gopher_top_4gram"),  # 60 of 360
        (words(0, 10) + " " + words(100, 30) + " " + words(0, 10), "gopher_repeated_5gram"),  # 50 of 250
        (words(0, 10) + " " + words(100, 60) + " " + words(0, 10), "gopher_repeated_8gram"),  # 50 of 400 = 0.125: over 0.12
    ],
)
def test_gopher_repetition(text, expected) -> None:
    assert reason(text, type="gopher", quality=False) == expected


def test_gopher_paragraphs() -> None:
    from src.scrape.filters.gopher import repetition

    text = "\n\n".join([f"one {number}\ntwo {number}" for number in (1, 1, 1, 2, 3, 4)])
    assert [name for name, _ in repetition(text, text.split())][:4] == [
        "gopher_lines", "gopher_lines_chars", "gopher_paragraphs", "gopher_paragraphs_chars"
    ]  # fmt: skip


def test_boilerplate_phrases() -> None:
    text = "A story of some length.\n\nAccept all cookies\n\nSubscribe to our newsletter\n\nThe end of it."
    assert judge(text, type="boilerplate").text == "A story of some length.\n\nThe end of it."
    assert reason("Accept all cookies\nShare this", type="boilerplate") == "boilerplate"
    sentence = "He had to subscribe to the view of the elders that nobody should ever leave the village."
    assert judge(sentence, type="boilerplate").text == sentence
    assert judge(text, type="boilerplate", phrases=False).text == text


def test_the_judge_applies_filters_in_order_and_leaves_tool_answers_alone() -> None:
    adapter = TypeAdapter(tuple[Filter, ...])
    filters = adapter.validate_python([{"type": "length", "min_words": 2}, {"type": "pii"}])
    rule = Judge(filters=filters)
    tool = Record("t", "{}", {"tool": "get_forecast"})
    found = list(rule.judged([Record("a", "x"), Record("b", "mail a@b.org"), tool, Drop("c", "empty")]))
    assert [each.reason if isinstance(each, Drop) else each.text for each in found] == ["too_short", "mail [EMAIL]", "{}", "empty"]
    assert pickle.loads(pickle.dumps(rule)) == rule
