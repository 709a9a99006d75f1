"""Joining the lines of hard-wrapped prose into paragraphs, verse and tables left as they are."""

import re
from itertools import pairwise

_WORD = re.compile(r"\w+(?:-\w+)*")
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_WRAPPED = 0.7  # share of a paragraph's lines that have to end where the next word would not have fitted
_WRAPPED_INDENTED = 0.9
_SLACK = 0.82  # of the width; old files are wrapped by hand


def unwrap(text: str) -> str:
    """Put each paragraph of prose on one line, paragraphs apart by an empty line.

    A paragraph is prose where its lines begin at one margin and end about where the next word would not have fitted
    any more; lines broken short (verse, lists, tables) stay. A hyphen at the end of a line goes where the text
    elsewhere has the word without it.
    """
    lines = text.split("\n")
    lengths = sorted(len(line) for line in lines if line and not line[0].isspace())
    width = lengths[len(lengths) * 9 // 10] if lengths else 0
    known: set[str] = set(_WORD.findall(text)) if re.search(r"\w-\n", text) else set()
    blocks = (block for each in _BLANK.split(text) for block in _indented_starts(each.strip("\n").split("\n")))
    return "\n\n".join(_paragraph(block, width, known) for block in blocks if any(line.strip() for line in block))


def _indented_starts(lines: list[str]) -> list[list[str]]:
    """Part a block where paragraphs are told by an indented first line, with no empty line between them."""
    deep = [_margin(line) > 1 for line in lines]
    starts = [at for at in range(1, len(lines) - 1) if deep[at] and not deep[at + 1] and not deep[at - 1]]
    if any(deep[at] for at in range(1, len(lines) - 1) if at not in starts):
        return [lines]
    edges = [0, *starts, len(lines)]
    return [lines[start:end] for start, end in pairwise(edges)]


def _paragraph(block: list[str], width: int, known: set[str]) -> str:
    lines = [line.rstrip() for line in block]
    if len(lines) > 1 and not _is_prose(lines, width):
        return "\n".join(lines)
    return _joined([line.strip() for line in lines], known)


def _is_prose(lines: list[str], width: int) -> bool:
    """Whether the lines after the first share a margin, and break because they are full."""
    margins = [_margin(line) for line in lines[1:]]
    flush = max(margins) <= 1  # one blank is how some files begin a line with a quotation mark
    if not flush and len(set(margins)) > 1:
        return False
    full = [len(line) + 1 + len(after.lstrip().partition(" ")[0]) >= width * _SLACK for line, after in pairwise(lines)]
    return sum(full) >= len(full) * (_WRAPPED if flush else _WRAPPED_INDENTED)


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str], known: set[str]) -> str:
    pieces = lines[:1]
    for line in lines[1:]:
        last = pieces[-1]
        glue = " "
        if last.endswith("--") or line.startswith("--"):
            glue = ""
        elif last.endswith("-") and last[-2:-1].isalpha() and line[:1].isalpha():
            glue = ""
            word = last[:-1].split(" ")[-1].split("-")[-1].lstrip("_“\"'‘(") + _WORD.match(line)[0]  # type: ignore[index]
            pieces[-1] = last[:-1] if word in known else last
        pieces += [glue, line]
    return "".join(pieces)
