"""Cuts a markdown file into passages that say where they stand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+")
_WHOLE = 4  # a fenced block may be this many times as long as a passage


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a file."""

    file: str
    """Path in the folder, with slashes."""
    headings: tuple[str, ...]
    """The headings above it, the topmost first."""
    text: str

    @property
    def source(self) -> str:
        """Where it stands, for people."""
        return " > ".join([self.file, *self.headings])

    @property
    def about(self) -> str:
        """What its vector is made from."""
        return f"{self.file.rpartition('/')[2].removesuffix('.md')}: {' > '.join(self.headings)}\n{self.text}"


def chunks(file: str, text: str, longest: int) -> list[Chunk]:
    """Cut by headings; what is longer than `longest` characters by paragraphs, then lines, then sentences.

    A fenced block of code is not cut below four times that. Nothing but blank lines and the headings themselves is left out.
    """
    found = []
    for headings, lines in _sections(text):
        found += [Chunk(file, headings, piece) for piece in _packed(_blocks(lines, longest), longest)]
    return found


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Headings above, and the lines below each; a # within a fence is no heading."""
    above: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        fence = _fence(line, fence)
        heading = None if fence else _HEADING.match(line)
        if not heading:
            lines.append(line)
            continue
        yield tuple(name for _, name in above), lines
        level = len(heading[1])
        above = [*((each, name) for each, name in above if each < level), (level, heading[2])]
        lines = []
    yield tuple(name for _, name in above), lines


def _fence(line: str, fence: str) -> str:
    """The fence that is open after this line, given the one before it."""
    mark = _FENCE.match(line)
    if not mark:
        return fence
    if not fence:
        return mark[1]
    closes = mark[1][0] == fence[0] and len(mark[1]) >= len(fence) and line.strip() == mark[1]
    return "" if closes else fence


def _blocks(lines: list[str], longest: int) -> Iterator[str]:
    """Paragraphs and fenced blocks, none too long."""
    block: list[str] = []
    fence = ""
    for line in [*lines, ""]:
        before, fence = fence, _fence(line, fence)
        if fence and not before and block:  # a fence begins
            yield from _cut("\n".join(block), longest)
            block = []
        if line.strip() or fence:
            block.append(line)
        ends = (before and not fence) or (not line.strip() and not fence)
        if ends and block:
            yield from _cut("\n".join(block), longest * _WHOLE if before else longest)
            block = []
    if block:  # a fence that nobody closed
        yield from _cut("\n".join(block), longest)


def _cut(block: str, longest: int) -> Iterator[str]:
    if len(block) <= longest:
        yield block
        return
    yield from _packed(_pieces(block, longest), longest, joint="\n")


def _pieces(block: str, longest: int) -> Iterator[str]:
    """Lines, of a long line its sentences, of a long sentence its stretches."""
    for line in block.split("\n"):
        for sentence in [line] if len(line) <= longest else _SENTENCE.split(line):
            yield from (sentence[start : start + longest] for start in range(0, max(1, len(sentence)), longest))


def _packed(pieces: Iterator[str], longest: int, joint: str = "\n\n") -> Iterator[str]:
    """Join neighbours as long as they fit together."""
    held = ""
    for piece in pieces:
        if held and len(held) + len(joint) + len(piece) > longest:
            yield held
            held = ""
        held = f"{held}{joint}{piece}" if held else piece
    if held.strip():
        yield held
