"""Cleaning a text without changing what it says: one Unicode form, no control or unseen characters, broken encodings repaired."""

import html
import re
import unicodedata
from typing import Literal

from src.core.config import Config

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_FORM_FEED = re.compile(r"[\x0b\x0c\x1c-\x1e\x85]")
_C1 = re.compile(r"[\x80-\x9f]")
# soft hyphen, blanks of no width, marks of direction; a joiner stands between letters of some scripts and inside emoji, and stays there
_UNSEEN = re.compile(
    r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]|(?:(?<![^\x00-\u024f])|^)[\u200c\u200d]"
)

# all that `ftfy` calls bad has two characters beyond ASCII side by side, or one of these
_SUSPECT = re.compile(r"[^\x00-\x7f]{2}|[\x80-\x9fŒœÂÃ]")


class Clean(Config):
    """How texts are cleaned before anything judges them."""

    unicode: Literal["NFC", "NFKC", "as_is"] = "NFC"
    """Unicode form: NFC spells each accent one way; NFKC also folds ligatures, widths and superscripts."""
    control: bool = True
    """Take out control characters but line ends and tabs."""
    unseen: bool = True
    """Take out soft hyphens, blanks of no width and marks of direction."""
    mojibake: bool = True
    """Repair text that was decoded wrongly once, line by line, only where it shows (`â€™` for `’`)."""
    entities: bool = False
    """Resolve HTML entities (`&amp;`) in text that should hold none."""

    def apply(self, text: str) -> str:
        """Return the text cleaned; the same text where there is nothing to do."""
        if self.entities and "&" in text:
            text = html.unescape(text)
        if not text.isascii():
            text = self._beyond_ascii(text)
        if self.control and _CONTROL.search(text):
            text = _CONTROL.sub("", _FORM_FEED.sub("\n", text))
        return text

    def _beyond_ascii(self, text: str) -> str:
        if self.mojibake and _SUSPECT.search(text):
            text = repaired(text)
        if self.unicode != "as_is":
            text = unicodedata.normalize(self.unicode, text)
        return _UNSEEN.sub("", text) if self.unseen else text


def repaired(text: str) -> str:
    """Undo wrong decodings, line by line; a line that may be meant as it is stays.

    Source: Speer, "ftfy" (2019), https://doi.org/10.5281/zenodo.2591652, with its surest rules alone.
    """
    from ftfy import TextFixerConfig, fix_encoding
    from ftfy.badness import is_bad
    from ftfy.fixes import fix_c1_controls

    careful = TextFixerConfig(explain=False, restore_byte_a0=True, replace_lossy_sequences=False, decode_inconsistent_utf8=True)
    if is_bad(text):
        text = "".join(fix_encoding(line, careful) if is_bad(line) else line for line in text.splitlines(keepends=True))
    return str(fix_c1_controls(text)) if _C1.search(text) else text
