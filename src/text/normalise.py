"""One spelling for texts that differ in typography only, so that they can be compared."""

import re
import unicodedata

_SINGLE = "‘’‚‛′`´ʼ‹›"
_DOUBLE = "“”„‟″«»"
_DASHES = "‐‑‒–—―−⸺⸻"
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_TABLE = str.maketrans(dict.fromkeys(_SINGLE, "'") | dict.fromkeys(_DOUBLE, '"') | dict.fromkeys(_DASHES, "-") | dict.fromkeys(_UNSEEN, ""))
_DASH_RUN = re.compile(r"--+")
_EMPHASIS = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")


def normalise(text: str) -> str:
    """Fold case, width, quotes, dashes, `_emphasis_` and white space: NFKC, casefold, one kind of each, single blanks."""
    # before NFKC too: it would take the acute accent standing for an apostrophe apart, and casefold may undo NFKC
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).casefold()
    text = unicodedata.normalize("NFKC", text).translate(_TABLE)
    return " ".join(_EMPHASIS.sub("", _DASH_RUN.sub("-", text)).split())
