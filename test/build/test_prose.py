"""What of a document is prose."""

import pytest

from src.build.prose import is_furniture, sections


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ("CHAPTER IV.", "break"),
        ("Chapter 12. The Raft", "break"),
        ("CHAPTER I. Y-o-u-u Tom—Aunt Polly Decides Upon her Duty—Tom Practices Music—The Challenge—A Private Entrance", "break"),
        ("THE END", "break"),
        ("The Adventures of Tom", "break"),
        ("Preface ........ 3\nThe Fence ...... 9", "break"),
        ("1861 12 44 9,000\n1862 13 45 9,100", "break"),
        ("* * * * *", "break"),
        ("[Illustration: Tom at the fence]", "skip"),
        ("He left.", ""),
        ("He said:", ""),
        ("Book learning is a fine thing, and I never had any of it in my life.", ""),
        ("Letter by letter he spelled out the words on the board above the door.", ""),
    ],
)
def test_furniture(block: str, kind: str) -> None:
    assert is_furniture(block) == kind


def test_headings_part_and_pictures_do_not() -> None:
    text = "CHAPTER I.\n\nHe came.\n\n[Illustration]\n\nHe saw.[12]\n\nCHAPTER II.\n\nHe _left_ the {34}\nhouse."
    assert list(sections(text)) == [["He came.", "He saw."], ["He left the house."]]


def test_lines_of_the_web_are_paragraphs() -> None:
    long = "This is a paragraph as it comes from a page, all on one line however long it may be, and no line after it is empty."
    assert list(sections(f"{long}\n{long}")) == [[long, long]]


def test_verses_keep_their_lines_and_prose_does_not() -> None:
    lines = ["It was a long road that went on and on over the hills and the river,"]
    lines += ["and nobody who went that way had ever come back by it, then or later on,", "at all."]
    prose = "\n".join(lines)
    verse = "Roses are red,\nViolets are blue,\nSugar."
    assert list(sections(f"{prose}\n\n{verse}\n\n{prose}")) == [[prose.replace("\n", " "), verse, prose.replace("\n", " ")]]
