"""The report as one HTML file that needs no network: pictures inside, every text escaped."""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from src.eval.blocks import Block, Bold, Bullets, Heading, Picture, Prose, Table, Verbatim

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1.2rem }
h1 { font-size: 1.6rem }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line) } h3 { font-size: 1rem;
margin-top: 1.6rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
img { max-width: 100%; background: #fff; border-radius: 4px }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft);
padding: .6rem .8rem; border-radius: 4px; margin: .2rem 0 .8rem; max-height: 22rem; overflow-y: auto }
.name { font-size: 12px; opacity: .7 }
.pass { color: #2a8a4a; font-weight: 600 } .fail { color: #c0392b; font-weight: 600 } .undecided { color: #b8860b; font-weight: 600 }
.better { color: #2a8a4a } .worse { color: #c0392b }
"""
_MARKED = ("pass", "fail", "undecided", "better", "worse")
# nothing may be loaded, run or sent, whatever a model wrote
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(blocks: Iterable[Block], folder: Path, title: str) -> str:
    """The blocks as a page, with the pictures that lie in `folder`."""
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
    )
    body = "\n".join(_parts(blocks, folder))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _parts(blocks: Iterable[Block], folder: Path) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(text, level):
                yield f"<h{level}>{escape(text)}</h{level}>"
            case Prose(text):
                yield f"<p>{escape(text)}</p>"
            case Bullets(items):
                yield f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
            case Table(header, rows):
                top = "".join(f"<th>{escape(cell)}</th>" for cell in header)
                lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
                yield f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
            case Picture(file):
                data = b64encode((folder / file).read_bytes()).decode()
                yield f'<p><img alt="{escape(file)}" src="data:image/png;base64,{data}"></p>'
            case Verbatim(title, text):
                yield f'<div class="name">{escape(title)}</div><pre>{escape(text)}</pre>'


def _cell(text: str) -> str:
    shown = f"<b>{escape(text)}</b>" if isinstance(text, Bold) else escape(text)
    kind = text.lower()
    return f'<td class="{kind}">{shown}</td>' if kind in _MARKED else f"<td>{shown}</td>"
