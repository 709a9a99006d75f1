"""The filter `c4`: the rules by which the Colossal Clean Crawled Corpus was made, of a page's lines what is prose."""

import re
from dataclasses import replace
from typing import Literal

from pydantic import Field

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record
from src.text.sentences import sentences

_ENDS = (".", "!", "?", '"', "”", "’", "»", "。", "！", "？")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_LONG_WORD = 1000


class C4Filter(Config):
    """Keeps the lines that are sentences; drops pages as `c4_lorem_ipsum`, `c4_curly_brace`, `c4_bad_word`, `c4_no_line` or `c4_sentences`.

    Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (2020), section 2.2,
    https://arxiv.org/abs/1910.10683. Unlike there, curly quotes and the full stops of Chinese and Japanese end a line too.
    """

    type: Literal["c4"] = "c4"
    min_line_words: int = Field(default=5, ge=0)
    """Fewest words of a line that stays."""
    min_sentences: int = Field(default=3, ge=0)
    """Fewest sentences of a page that stays."""
    curly_braces: bool = False
    """Whether a page with `{` stays: it is mostly code."""
    bad_words: tuple[str, ...] = ()
    """Words and phrases of which a page may hold none; the paper takes a public list of them."""

    def apply(self, record: Record) -> Record | Drop:
        """Return the record with its good lines, or why it goes."""
        lower = record.text.lower()
        if reason := self._page(record.text, lower):
            return Drop(record.id, *reason, record.as_row())
        lines = [_CITATION.sub("", line).strip() for line in record.text.split("\n")]
        kept = [line for line in lines if not line or self._is_prose(line)]
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
        if not text:
            return Drop(record.id, "c4_no_line", f"none of {len(lines)} lines is a sentence", record.as_row())
        if self.min_sentences and (count := self._sentences(text)) < self.min_sentences:
            return Drop(record.id, "c4_sentences", f"{count} sentences, fewer than {self.min_sentences}", record.as_row())
        return record if text == record.text else replace(record, text=text)

    def _page(self, text: str, lower: str) -> tuple[str, str] | None:
        if "lorem ipsum" in lower:
            return "c4_lorem_ipsum", "a placeholder text"
        if not self.curly_braces and "{" in text:
            return "c4_curly_brace", f"character {text.index('{') + 1}"
        for word in self.bad_words:
            if re.search(rf"(?<!\w){re.escape(word.lower())}(?!\w)", lower):
                return "c4_bad_word", "a word of the list"
        return None

    def _is_prose(self, line: str) -> bool:
        words = line.split()
        lower = line.lower()
        return (
            line.endswith(_ENDS)
            and not line.endswith("...")
            and len(words) >= self.min_line_words
            and max(map(len, words)) <= _LONG_WORD
            and "javascript" not in lower
            and not any(phrase in lower for phrase in _POLICY)
        )

    def _sentences(self, text: str) -> int:
        found = 0
        for line in text.split("\n"):
            found += len(sentences(line))
            if found >= self.min_sentences:
                break
        return found
