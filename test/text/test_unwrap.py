from src.text.unwrap import unwrap

PROSE = """It was a bright cold day in April, and the clocks were striking
thirteen.  The man slipped quickly through the glass doors of the
mansions, though not quickly enough to prevent a swirl of gritty
dust from entering along with him."""


def test_prose_becomes_a_line_and_verse_stays() -> None:
    verse = "    Those joyous hours are passed away;\n    And many a heart that then was gay,"
    short = "Said Dollinger the pilot man,\nTow'ring above the crew,\n“Fear not, but trust in me.”"
    assert unwrap(f"{PROSE}\n\n{verse}\n  \n{short}\n\n\n{PROSE}") == "\n\n".join(
        [PROSE.replace("\n", " "), verse, short, PROSE.replace("\n", " ")]
    )


def test_a_quotation_with_a_margin_is_prose_where_its_lines_are_full() -> None:
    quoted = "\n".join(f"     {line}" for line in PROSE.split("\n"))
    assert unwrap(f"{PROSE}\n\n{quoted}") == "\n\n".join([PROSE.replace("\n", " ")] * 2)
    steps = "first\n   second, which stands in a little and is long enough for it\n      third"
    assert unwrap(f"{PROSE}\n\n{steps}").endswith(steps)


def test_paragraphs_told_by_indented_first_lines_are_parted() -> None:
    text = "\n".join(["   " + PROSE, "   " + PROSE])
    assert unwrap(text) == "\n\n".join([PROSE.replace("\n", " ")] * 2)


def test_a_blank_before_a_quotation_mark_is_no_margin() -> None:
    text = PROSE.replace("\nthirteen", "\n “thirteen")
    assert "\n" not in unwrap(text)


def test_a_hyphen_at_the_end_of_a_line_goes_where_the_word_is_known_without_it() -> None:
    text = """The wonderful thing about this was that everybody thought it wonder-
ful indeed, except for those who had been there and had seen the well-
known hats of them all--which is to say of everyone in the whole town--
and nobody else at all."""
    assert unwrap(text) == (
        "The wonderful thing about this was that everybody thought it wonderful indeed, except for those who had been there and had seen "
        "the well-known hats of them all--which is to say of everyone in the whole town--and nobody else at all."
    )


def test_headings_lose_their_margin_and_nothing_gives_nothing() -> None:
    assert unwrap(f"            CHAPTER I.\n\n{PROSE}").startswith("CHAPTER I.\n\nIt was")
    assert unwrap("") == unwrap(" \n\n \n") == ""
    assert unwrap("\x0b\n\xa0") == ""
