"""The report as one HTML file that needs no network: pictures inside, every text escaped, light or dark as the reader's screen is."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from src.eval.blocks import Banner, Block, Bold, Bullets, Fold, Heading, Picture, Prose, Table, Verbatim
from src.eval.panels import DEEP, INK

_STYLE = Path(__file__).with_name("page.css")
_MARKED = ("pass", "fail", "undecided", "better", "worse")
# nothing may be loaded, run or sent, whatever a model wrote
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NOT_DRAWN = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)


def page(blocks: Iterable[Block], folder: Path, title: str) -> str:
    """The blocks as a page, with the pictures that lie in `folder`."""
    style = _STYLE.read_text(encoding="utf-8")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{style}</style>'
    )
    blocks = list(blocks)
    body = "\n".join(_parts(blocks, folder, _chapters(blocks)))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _chapters(blocks: Iterable[Block]) -> dict[str, str]:
    """Titles of the second level, each with a name to link to."""
    titles = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    return {title: f"part-{number}" for number, title in enumerate(dict.fromkeys(titles), start=1)}


def _parts(blocks: Iterable[Block], folder: Path, chapters: dict[str, str]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(text, level):
                yield _heading(text, level, chapters)
            case Banner(verdict, text):
                yield f'<div class="banner {_kind(verdict)}"><b>{escape(verdict)}</b><span>{escape(text)}</span></div>'
            case Prose(text):
                yield f"<p>{_ours(text)}</p>"
            case Bullets(items):
                yield f"<ul>{''.join(f'<li>{_ours(item)}</li>' for item in items)}</ul>"
            case Table(header, rows):
                yield _table(header, rows)
            case Picture(file, title):
                yield f"<figure><figcaption>{escape(title)}</figcaption>{_picture(folder / file, title or file)}</figure>"
            case Verbatim(title, text):
                yield f'<div class="name">{escape(title)}</div><pre>{escape(text)}</pre>'
            case Fold(title, texts):
                yield f"<details><summary>{escape(title)}</summary>{''.join(_parts(texts, folder, chapters))}</details>"


def _ours(text: str) -> str:
    """A sentence of ours: what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _heading(text: str, level: int, chapters: dict[str, str]) -> str:
    """A title; under the first one the way to the chapters."""
    links = "".join(f'<a href="#{name}">{escape(title)}</a>' for title, name in chapters.items())
    mark = f' id="{chapters[text]}"' if level == 2 else ""
    return f"<h{level}{mark}>{escape(text)}</h{level}>" + (f"<nav>{links}</nav>" if level == 1 else "")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(text: str) -> str:
    shown = f"<b>{escape(text)}</b>" if isinstance(text, Bold) else escape(text)
    kind = _kind(text)
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def _kind(text: str) -> str:
    return text.lower() if text.lower() in _MARKED else ""


def _picture(file: Path, title: str) -> str:
    """The SVG, which takes the page's colour and stays sharp, or else the PNG."""
    drawn = file.with_suffix(".svg")
    if not drawn.exists():
        return f'<img alt="{escape(title)}" src="data:image/png;base64,{b64encode(file.read_bytes()).decode()}">'
    text = drawn.read_text(encoding="utf-8")
    inner = _NOT_DRAWN.sub("", text[text.index("<svg") :]).replace(INK, "currentColor").replace(DEEP, "var(--deep)")
    return inner.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
