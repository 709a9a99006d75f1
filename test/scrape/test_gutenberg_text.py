import re
from pathlib import Path

import pytest

from src.scrape.gutenberg_text import bounds, gutenberg_text
from src.text.encoding import decode

BODY = "It was a dark night.\n\nThe end of it was bright."


def book(head: str, foot: str, body: str = BODY) -> str:
    return f"{head}\n\n\n{body}\n\n\n{foot}\n"


LICENCE = "*** START: FULL LICENSE ***\n\nTHE FULL PROJECT GUTENBERG LICENSE\n" + "terms of the licence\n" * 300
START = "*** START OF THIS PROJECT GUTENBERG EBOOK NIGHT ***"
END = f"*** END OF THIS PROJECT GUTENBERG EBOOK NIGHT ***\n\n{LICENCE}"


@pytest.mark.parametrize(
    "head",
    [
        "Title: Night\n\n*** START OF THIS PROJECT GUTENBERG EBOOK NIGHT ***",
        "*** START OF THE PROJECT GUTENBERG EBOOK, NIGHT ***\n\nProduced by David Widger",
        "***START OF THIS PROJECT GUTENBERG EBOOK A VERY LONG\nTITLE ABOUT NIGHT ***",
        "*** START OF THIS PROJECT GUTENBERG EBOOK A ***\n\nx\n\n*** START OF THIS PROJECT GUTENBERG EBOOK NIGHT ***",
        "***START**THE SMALL PRINT!**START***\nsmall print\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
        "small print\n*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.12.12.00*END",
        "The Project Gutenberg Etext of Night\nby Nobody\n\n(#6 in our series by Nobody)",
        f"{START}\n\nE-text prepared by Jana Srna and the Online\nDistributed Proofreading Team at http://www.pgdp.net",
        f"{START}\n\nThis eBook was Produced by A. Nonymous\n\n[Transcriber's note: spelling kept.]",
        f"{START}\n\nThe INTERNET WIRETAP First Electronic Edition of\n NIGHT",
        "",
    ],
)
@pytest.mark.parametrize(
    "foot",
    [
        END,
        f"End of the Project Gutenberg EBook of Night, by\nNobody\n\n{END}",
        f"End of Project Gutenberg’s Night, by Nobody\n\n{END}",
        "End of this Project Gutenberg Etext of Night",
        "End of the Wiretap/Project Gutenberg Etext of Night",
        "End of the [Wiretap] Edition",
        "The End of the Project Gutenberg Etext",
        LICENCE,
        "",
    ],
)
def test_every_header_and_footer_goes(head: str, foot: str) -> None:
    assert gutenberg_text(book(head, foot)) == BODY


def test_newlines_of_every_kind() -> None:
    assert gutenberg_text(book("*** START OF THIS PROJECT GUTENBERG EBOOK X ***", END).replace("\n", "\r\n")) == BODY
    assert gutenberg_text(book("*** START OF THIS PROJECT GUTENBERG EBOOK X ***", END).replace("\n", "\r")) == BODY


def test_illustrations_go_even_over_several_lines() -> None:
    body = (
        "[Illustration]\n\nOne [Illustration: a dog] two.\n\n"
        + "[Illustration:\n\n  “A caption [_Copyright_]\n  of two lines”]\n\nThree [Note: stays]."
    )
    assert gutenberg_text(body) == "One two.\n\nThree [Note: stays]."


def test_a_paragraph_that_names_the_project_goes_and_a_book_without_empty_lines_stays() -> None:
    honest = "The editor notes that Project\nGutenberg has the other edition."
    assert gutenberg_text(f"One.\n\n{honest}\n\nTwo.") == "One.\n\nTwo."
    wall = "\n".join(["a line of a book that has no empty lines at all"] * 50 + ["see www.gutenberg.org"] + ["more"] * 9)
    assert len(gutenberg_text(wall).split()) == 50 * 12 + 9


def test_credits_are_looked_for_at_the_edges_only() -> None:
    body = "\n\n".join(["A paragraph."] * 30 + ["Produced by the lamp was a light."] + ["A paragraph."] * 30)
    assert gutenberg_text(body) == body


def test_nothing_between_header_and_footer() -> None:
    assert gutenberg_text(book("*** START OF THIS PROJECT GUTENBERG EBOOK NIGHT ***", END, "")) == ""
    assert bounds([]) == (0, 0)


FILES = [
    "1342/1342-0.txt", "148/148-8.txt", "148/148.txt", "1661/1661-8.txt", "22367/22367-8.txt", "3176/3176-0.txt", "3177/3177-0.txt",
    "3189/3189-8.txt", "4650/4650-8.txt", "74/74-0.txt", "76/76-0.txt", "76/old-hfinn11.txt",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_real_book_loses_the_project_and_nothing_else(shared: Path, name: str) -> None:
    raw = decode((shared / "gutenberg" / name).read_bytes())[0].replace("\r\n", "\n").replace("\r", "\n")
    text = gutenberg_text(raw)
    assert not re.search(r"gutenberg|pglaf|widger|pgdp|small print|wiretap", text, re.IGNORECASE)
    # told apart from `bounds` on purpose: the lines between the project's own markers, as grep finds them
    inside = re.split(r"\n\*\*\* START OF TH[^\n]*\n", raw)[-1].split("\n*** END OF TH")[0]
    letters = re.compile(r"[^\W_]")
    assert 0.995 < len(letters.findall(text)) / len(letters.findall(inside)) <= 1
    paragraphs = text.split("\n\n")
    assert sum("\n" in paragraph for paragraph in paragraphs) < 0.07 * len(paragraphs)


# what a reader takes for the first and the last line of the book, found by reading the files; four vintages of the same work of many hands
BY_HAND = {
    "76/old-hfinn11.txt": ("NOTICE", "THE END", 1993),  # behind what its typists say of themselves
    "22367/22367-8.txt": ("DIE VERWANDLUNG", "Tochter als erste sich erhob und ihren jungen Körper dehnte.", 2007),
    "1661/1661-8.txt": ("THE ADVENTURES OF SHERLOCK HOLMES", "Walsall, where I believe that she has met with considerable success.", 2011),
    "3177/3177-0.txt": ("ROUGHING IT", "at least allow such a lamb the use of his legs at such a time.--M.  T.]", 2018),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_body_is_the_one_a_careful_reader_cuts_out(shared, name: str) -> None:
    first, last, _ = BY_HAND[name]
    raw = decode((shared / "gutenberg" / name).read_bytes())[0]
    lines = [line.strip() for line in raw.splitlines()]
    begin = lines.index(first)
    end = len(lines) - 1 - lines[::-1].index(last)
    by_hand = " ".join(" ".join(lines[begin : end + 1]).split())
    ours = " ".join(gutenberg_text(raw).split())
    assert abs(len(ours) - len(by_hand)) < 0.03 * len(by_hand)
    assert ours.endswith(" ".join(last.split()))
    assert " ".join(" ".join(lines[begin + 1 :]).split()[:40]) in ours


def test_no_cleaned_book_names_its_maker_or_shows_a_broken_encoding(shared) -> None:
    files = sorted((shared / "gutenberg").glob("*/*.txt"))
    assert len(files) > 10
    for file in files:
        text = gutenberg_text(decode(file.read_bytes())[0])
        assert len(text) > 100_000, file
        assert not re.search(r"gutenberg|pglaf|\be-?text|^produced by|pgdp\.net", text, re.IGNORECASE | re.MULTILINE), file
        assert "\ufffd" not in text, file
        assert not re.search("[\x80-\x9f]|â€|Ã[\x80-\xbf©¨¶¼¤]", text), file
