"""A report as headings, tables, pictures and texts, and as the Markdown of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


class Bold(str):
    """A cell that stands out."""

    __slots__ = ()


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Prose:
    """Sentences of ours."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Short facts, of ours."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows under a header; their cells may hold any text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A plot that lies beside the report, as PNG and, for the page, as SVG."""

    file: str
    title: str = ""


@dataclass(frozen=True)
class Banner:
    """What it all comes to: a verdict, and what it is about."""

    verdict: str
    text: str


@dataclass(frozen=True)
class Verbatim:
    """Any text, as it is, and what it is."""

    title: str
    text: str


@dataclass(frozen=True)
class Fold:
    """Texts that a page shows once they are asked for."""

    title: str
    texts: Sequence[Verbatim]


Block = Heading | Prose | Bullets | Table | Picture | Banner | Verbatim | Fold


def markdown(blocks: Iterable[Block]) -> str:
    """The blocks as Markdown that no text of a model can break out of."""
    return "\n".join(_lines(blocks))


def _lines(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(text, level):
                yield f"{'#' * level} {_escaped(text)}\n"
            case Prose(text):
                yield f"{text}\n"
            case Bullets(items):
                yield "".join(f"- {' '.join(item.split())}\n" for item in items)
            case Table(header, rows):
                lines = [list(map(_escaped, header)), ["---"] * len(header), *[list(map(_escaped, row)) for row in rows]]
                yield "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
            case Picture(file, title):
                yield f"![{title or file}]({file})\n"
            case Banner(verdict, text):
                yield f"**{verdict}** {_escaped(text)}\n"
            case Fold(title, texts):
                yield f"### {_escaped(title)}\n"
                yield from _lines(texts)
            case Verbatim(title, text):
                yield f"{title}:\n\n{_fenced(text)}\n"


def _escaped(text: str) -> str:
    """Text from a model or a tool, made harmless for a line of Markdown."""
    plain = re.sub(r"([\\`*<>|])", r"\\\1", " ".join(text.split()))
    return f"**{plain}**" if isinstance(text, Bold) else plain


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
