"""Cutting a book out of a Project Gutenberg text file: no header, footer, credits or mention of it stays."""

import re

from src.text.unwrap import unwrap

_NAME = r"project[\s_]+gutenberg"
_START = re.compile(rf"^\W*\*\*\* ?START OF TH\w+ {_NAME}", re.IGNORECASE)
_SMALL_PRINT = re.compile(r"^\W*\*?END ?\*?\s*THE SMALL PRINT", re.IGNORECASE)
_END = re.compile(
    rf"^\W*(\*\*\* ?END OF TH\w+ {_NAME}"
    rf"|End of (the |this )?({_NAME}|wiretap)"
    rf"|\*\*\* ?START: FULL LICENSE|\*+ ?START ?\*+ ?THE SMALL PRINT|(this is )?the end of (the |this )?{_NAME})",
    re.IGNORECASE,
)
_CREDIT = re.compile(
    r"^\W*((this |the )?(e-?(text|book)|file|edition \d+|html version|text)?( was)?( first)?( originally)? ?"
    r"(produced|prepared|transcribed|scanned|proof-?read|digitized|converted|created|typed|keyed|submitted) (by|for|from|in)\b"
    r"|(we thank|nous remercions|thanks to) .*(etext|image|scan|texte)"
    r"|(first )?electronic edition|the internet wiretap|released to the public|this text was (subsequently )?(re)?formatted"
    r"|\(?#\d+ in our series|\**\s*$|transcribers?['’]?s? notes?\b|\[transcriber"
    r"|(last |most recently )?updated:|release date|posting date)",
    re.IGNORECASE | re.DOTALL,
)
_PRODUCTION = re.compile(r"pgdp\.net|distributed proofread|wiretap|<[\w.]+@[\w.]+>", re.IGNORECASE)
_MENTION = re.compile(r"gutenberg|pglaf", re.IGNORECASE)
_ILLUSTRATION = re.compile(r"[ \t]*\[Illustrations?\b(?:[^\[\]]|\[[^\[\]]{0,300}\]){0,3000}\][ \t]*", re.IGNORECASE)
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")

_HEAD = 20  # paragraphs after the header among which credits stand
_TAIL = 4
_LONG = 25  # lines of a paragraph of which only the lines that mention it go


def gutenberg_text(raw: str) -> str:
    """Return the book in `raw`: illustrations' marks removed, prose unwrapped; empty where there is none."""
    lines = raw.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").split("\n")
    start, end = bounds(lines)
    body = _ILLUSTRATION.sub(" ", "\n".join(line.rstrip() for line in lines[start:end]))
    paragraphs = [each for each in _BLANK.split("\n" + body + "\n") if each.strip()]
    return unwrap("\n\n".join(_unmentioned(_uncredited(paragraphs)))).strip("\n")


def bounds(lines: list[str]) -> tuple[int, int]:
    """The lines of the book as a range: after the last header, before the first footer."""
    first = next((at for at, line in enumerate(lines) if _START.match(line) or (_SMALL_PRINT.match(line) and at < len(lines) // 2)), -1)
    end = next((at for at in range(first + 1, len(lines)) if _END.match(lines[at])), len(lines))
    start = first
    for at in range(first + 1, end):
        if _START.match(lines[at]) or (_SMALL_PRINT.match(lines[at]) and at < len(lines) // 2):
            start = at
    if start >= 0 and _START.match(lines[start]):
        start = _past_wrapped(lines, start)
    return start + 1, end


def _past_wrapped(lines: list[str], start: int) -> int:
    """The last line of a start marker, whose title may run on over the next two."""
    if lines[start].rstrip().endswith("***"):
        return start
    return next((at for at in range(start + 1, min(start + 3, len(lines))) if lines[at].rstrip().endswith("***")), start)


def _uncredited(paragraphs: list[str]) -> list[str]:
    """Leave out who produced the file: among the first paragraphs and the last ones."""
    kept = []
    for at, paragraph in enumerate(paragraphs):
        edge = at < _HEAD or at >= len(paragraphs) - _TAIL
        short = paragraph.count("\n") < 8
        if not (edge and short and (_CREDIT.match(paragraph) or _PRODUCTION.search(paragraph))):
            kept.append(paragraph)
    return kept


def _unmentioned(paragraphs: list[str]) -> list[str]:
    """Leave out every paragraph that names the project, of a very long one the lines that do."""
    kept = []
    for paragraph in paragraphs:
        if not _MENTION.search(paragraph):
            kept.append(paragraph)
        elif paragraph.count("\n") >= _LONG:
            kept.append("\n".join(line for line in paragraph.split("\n") if not _MENTION.search(line)))
    return kept
