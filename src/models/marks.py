"""Finding what a template's `{% generation %}` marks enclose: they become two signs in the text, which are taken out again."""

import re
from dataclasses import dataclass
from functools import lru_cache

OPEN, CLOSE = "\x02", "\x03"
_MARK = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}(\n?)")
_SIGNS = re.compile(f"[{OPEN}{CLOSE}]")

Span = tuple[int, int]


@lru_cache(64)
def is_marked(template: str) -> bool:
    """Whether the template says which of its words the assistant's are."""
    return any(not match[2] for match in _MARK.finditer(template))


@lru_cache(64)
def signed(template: str) -> str:
    """The template with a sign in place of each mark."""
    return _MARK.sub(lambda m: "{{" + m[1] + f" '{CLOSE if m[2] else OPEN}' " + m[3] + "}}", template)


@dataclass(frozen=True, slots=True)
class Signed:
    """A text without its signs, and what stood between them."""

    text: str
    spans: tuple[Span, ...]

    @classmethod
    def read(cls, rendered: str) -> "Signed | None":
        """Take the signs out of a rendered text; None where they do not open and close in turn: the messages hold some."""
        pieces = _SIGNS.split(rendered)
        if "".join(_SIGNS.findall(rendered)) != (OPEN + CLOSE) * (len(pieces) // 2):
            return None
        at, spans = 0, []
        for number, piece in enumerate(pieces):
            if number % 2 and piece:
                spans.append((at, at + len(piece)))
            at += len(piece)
        return cls("".join(pieces), tuple(spans))
