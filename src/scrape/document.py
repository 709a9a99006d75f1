"""A file that is one record: plain text, Markdown, HTML."""

import re
from collections.abc import Mapping
from pathlib import Path

from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.html_text import BadHtmlError, html_text
from src.scrape.read_text import Unread, read_text
from src.text.opened import kind as suffix

_MARKDOWN = (".md", ".markdown")
_HTML = (".html", ".htm", ".xhtml")
DOCUMENTS = (".txt", ".text", *_MARKDOWN, *_HTML)
_HEADING = re.compile(r"^# +(.+?) *#*$", re.MULTILINE)


def document(path: Path, name: str, extra: Mapping[str, str], *, max_mb: int) -> Record | Drop:
    """Read the file at `path` into the record `name`; `extra` goes over what is known about it."""
    text = read_text(path, max_mb=max_mb)
    if isinstance(text, Unread):
        return Drop(name, text.reason, text.detail)
    title = ""
    kind = suffix(path)
    if kind in _HTML:
        try:
            title, text = html_text(text)
        except BadHtmlError as error:
            return Drop(name, "bad_html", str(error))
        if not text:
            return Drop(name, "no_text", "nothing to read outside scripts and navigation")
    elif kind in _MARKDOWN and (heading := _HEADING.search(text)):
        title = heading[1]
    return Record(name, text.strip("\n"), {"source": name} | ({"title": title} if title else {}) | dict(extra))
