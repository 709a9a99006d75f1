"""What of a document is prose: its paragraphs, without headings, contents, illustrations and tables."""

import re
from collections.abc import Iterator

from src.text.sentences import ENDED
from src.text.unwrap import unwrap

_BLOCK = re.compile(r"\n[ \t]*\n\s*")
_NOTE = re.compile(r"\[\d+\]|\{\d+\}|\[(?:Footnote|Illustration|Sidenote|Transcriber)[^\]]*\]", re.IGNORECASE)
_EMPHASIS = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_DIVISION = re.compile(
    r"(?:the\s+)?(?:chapter|book|part|volume|letter|scene|act|section|canto|appendix|chapitre|kapitel)\s+"
    r"(?:[ivxlcdm]+|\d+|the\s+\w+|one|two|three|four|five|six|seven|eight|nine|ten|first|last)\b[.:,—\- ]?",
    re.IGNORECASE,
)
_DASH = re.compile("—|--")
_LEADERS = re.compile(r"\.{4,}|(?:\. ){4,}|\s{3,}\d+$", re.MULTILINE)
_HEADING = 12  # words a line without a full stop may have to be a heading
_WIDE = 100  # characters that nine lines of ten stay within in a text that is wrapped by hand
_LINE = 90  # characters of a line from which it is a paragraph of its own
_DIGITS = 0.2  # share of digits from which a block is a table


def sections(text: str) -> Iterator[list[str]]:
    """Yield runs of paragraphs with nothing between them: a chapter, the text between two pictures."""
    run: list[str] = []
    for block in blocks(text):
        if furniture := is_furniture(block):
            if run and furniture == "break":
                yield run
                run = []
            continue
        run.append(block)
    if run:
        yield run


def blocks(text: str) -> Iterator[str]:
    """Yield paragraphs on one line each; of verse the lines are kept."""
    lengths = sorted(len(line) for line in text.split("\n") if line.strip())
    wrapped = bool(lengths) and lengths[len(lengths) * 9 // 10] <= _WIDE
    for block in _BLOCK.split(unwrap(text) if wrapped else text):
        lines = [" ".join(_EMPHASIS.sub("", _NOTE.sub("", line)).split()) for line in block.split("\n")]
        lines = [line for line in lines if line]
        if max(map(len, lines), default=0) > _LINE:
            yield from lines
        elif lines:
            yield "\n".join(lines)
        elif block.strip():  # a picture or a note and nothing else
            yield "["


def is_furniture(block: str) -> str:
    """Tell what is no prose: `skip` for what the prose runs past, `break` for what parts it, else an empty text."""
    if block.startswith("[") and (block.endswith("]") or block == "["):
        return "skip"
    words = block.split()
    if not any(letter.islower() for letter in block) or _LEADERS.search(block):
        return "break"
    if sum(letter.isdigit() for letter in block) > _DIGITS * len(block):
        return "break"
    if division := _DIVISION.match(block):
        rest = block[division.end() :]
        return "break" if len(words) <= _HEADING or len(_DASH.findall(rest)) > 1 or rest.isupper() else ""
    if len(words) <= _HEADING and "\n" not in block and not ENDED.search(block) and block[-1] not in ":,;—-":
        return "break"
    return ""
