"""Taking title and readable text out of an HTML page, without what stands around it on every page."""

import re
from html.parser import HTMLParser

_SKIPPED = {
    "script", "style", "noscript", "template", "svg", "math", "head", "nav", "footer", "aside", "button", "select", "textarea",
    "iframe", "object", "canvas", "dialog",
}  # fmt: skip
_BLOCKS = {
    "address", "article", "blockquote", "body", "caption", "dd", "div", "dl", "dt", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tr", "ul",
}  # fmt: skip
_CELLS = {"td", "th"}
_SPACE = re.compile(r"\s+")


class BadHtmlError(ValueError):
    """A page that cannot be parsed."""


def html_text(page: str) -> tuple[str, str]:
    """Return the page's title and its text, a paragraph a block; of pages that mark their main part, that part only."""
    parser = _Parser()
    try:
        parser.feed(page)
        parser.close()
    except AssertionError as error:  # what the standard library raises on a broken declaration
        raise BadHtmlError(str(error)) from None
    return " ".join("".join(parser.title).split()), _tidy(parser.main) or _tidy(parser.all)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.all: list[str] = []
        self.main: list[str] = []
        self._open = {"title": 0, "main": 0, "pre": 0}
        self._skipped: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note what opens."""
        if tag == "body":
            self._skipped.clear()  # a head left open
        elif tag in _SKIPPED:
            self._skipped.append(tag)
        self._count("main" if tag == "article" else tag, 1)
        self._mark(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note what closes; an end without its start closes nothing."""
        if tag in self._skipped:
            del self._skipped[len(self._skipped) - 1 - self._skipped[::-1].index(tag) :]
        if tag in _BLOCKS:
            self._mark(tag)
        self._count("main" if tag == "article" else tag, -1)

    def handle_data(self, data: str) -> None:
        """Take text that is to be read."""
        if self._open["title"] and "svg" not in self._skipped:
            self.title.append(data)
        elif not self._skipped:
            self._add(data if self._open["pre"] else _SPACE.sub(" ", data))

    def _mark(self, tag: str) -> None:
        if self._skipped:
            return
        if tag in _BLOCKS:
            self._add("\n\n")
        elif tag == "br":
            self._add("\n")
        elif tag in _CELLS:
            self._add(" ")

    def _count(self, name: str, step: int) -> None:
        if name in self._open:
            self._open[name] = max(0, self._open[name] + step)

    def _add(self, text: str) -> None:
        self.all.append(text)
        if self._open["main"]:
            self.main.append(text)


def _tidy(pieces: list[str]) -> str:
    paragraphs = ("\n".join(line.strip() for line in each.split("\n")).strip() for each in "".join(pieces).split("\n\n"))
    return "\n\n".join(each for each in paragraphs if each)
