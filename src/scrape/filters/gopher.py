"""The filter `gopher`: the quality and repetition rules by which the corpus of Gopher was made."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from src.core.config import Config
from src.core.ledger import Drop
from src.core.records import Record

_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_BULLETS = ("•", "‣", "●", "◦", "▪", "*", "-", "–")
_ELLIPSES = ("...", "…")
_ELLIPSIS = re.compile(r"\.\.\.|…")
_STRIPPED = ".,;:!?\"'“”‘’()[]{}<>*_-—–…"
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


class GopherFilter(Config):
    """Drops texts that are no prose or repeat themselves, as `gopher_…` after the rule; the limits are the paper's.

    Source: Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher" (2021), appendix A.1.1 and table A1,
    https://arxiv.org/abs/2112.11446. Shares of n-grams are of the characters in words; the first of several equal ones is no repetition.
    """

    type: Literal["gopher"] = "gopher"
    min_words: int = Field(default=50, ge=0)
    """Fewest words."""
    max_words: int = Field(default=100_000, ge=1)
    """Most words; many a novel has more."""
    stop_words: tuple[str, ...] = _STOP_WORDS
    """Words of which prose has at least two; put those of your language, or none."""
    quality: bool = True
    """Whether the rules on words, symbols and lines apply."""
    repetition: bool = True
    """Whether the rules on repeated lines, paragraphs and runs of words apply."""

    def apply(self, record: Record) -> Record | Drop:
        """Return the record, or the first rule that it breaks."""
        words = record.text.split()
        if self.quality and (broken := next(self._quality(record.text, words), None)):
            return Drop(record.id, *broken, record.as_row())
        if self.repetition and (broken := next(repetition(record.text, words), None)):
            return Drop(record.id, *broken, record.as_row())
        return record

    def _quality(self, text: str, words: list[str]) -> Iterator[tuple[str, str]]:
        count = len(words)
        if not self.min_words <= count <= self.max_words:
            yield "gopher_words", f"{count} words, not {self.min_words} to {self.max_words}"
        if not count:
            return
        mean = sum(map(len, words)) / count
        if not 3 <= mean <= 10:
            yield "gopher_word_length", f"{mean:.2f} characters a word, not 3 to 10"
        symbols = max(text.count("#"), len(_ELLIPSIS.findall(text))) / count
        if symbols > 0.1:
            yield "gopher_symbols", f"{symbols:.3f} hash signs or ellipses a word, over 0.1"
        yield from _lines(text)
        lettered = sum(any(map(str.isalpha, word)) for word in words) / count
        if lettered < 0.8:
            yield "gopher_letters", f"{lettered:.3f} of the words have a letter, under 0.8"
        if self.stop_words:
            present = {word.strip(_STRIPPED).lower() for word in words}.intersection(self.stop_words)
            if len(present) < min(2, len(self.stop_words)):
                yield "gopher_stop_words", f"{len(present)} of {' '.join(self.stop_words)}, under 2"


def _lines(text: str) -> Iterator[tuple[str, str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bullets = sum(line.startswith(_BULLETS) for line in lines) / len(lines)
    if bullets > 0.9:
        yield "gopher_bullets", f"{bullets:.3f} of the lines are bullets, over 0.9"
    open_ended = sum(line.endswith(_ELLIPSES) for line in lines) / len(lines)
    if open_ended > 0.3:
        yield "gopher_ellipses", f"{open_ended:.3f} of the lines end in an ellipsis, over 0.3"


def repetition(text: str, words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the rules on repetition that a text breaks, as reason and detail."""
    for unit, separator in (("line", r"\n+"), ("paragraph", r"\n\s*\n")):
        pieces = [piece.strip() for piece in re.split(separator, text) if piece.strip()]
        shares = _repeated_pieces(pieces)
        for measure, share, limit in zip(("", "_chars"), shares, (0.30, 0.20), strict=True):
            if share > limit:
                yield (
                    f"gopher_{unit}s{measure}",
                    f"{share:.3f} of the {'characters' if measure else unit + 's'} repeat a {unit}, over {limit}",
                )
    total = sum(map(len, words))
    for size, limit in _TOP.items():
        if total and (share := _top_share(words, size) / total) > limit:
            yield f"gopher_top_{size}gram", f"{share:.3f} of the characters are one run of {size} words, over {limit}"
    for size, limit in _REPEATED.items():
        if total and (share := _repeated_share(words, size) / total) > limit:
            yield f"gopher_repeated_{size}gram", f"{share:.3f} of the characters repeat runs of {size} words, over {limit}"


def _repeated_pieces(pieces: list[str]) -> tuple[float, float]:
    """Share of the pieces that stood before, and of the characters in them."""
    counts = Counter(pieces)
    if len(counts) == len(pieces):
        return 0.0, 0.0
    characters = sum((count - 1) * len(piece) for piece, count in counts.items())
    return (len(pieces) - len(counts)) / len(pieces), characters / sum(map(len, pieces))


def _top_share(words: list[str], size: int) -> int:
    """Characters in the run of words that takes up most, where it stands more than once."""
    runs = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    return max((count * sum(map(len, run)) for run, count in runs.items() if count > 1), default=0)


def _repeated_share(words: list[str], size: int) -> int:
    """Characters in runs of words that stood before, each counted once."""
    seen: set[tuple[str, ...]] = set()
    covered = 0
    characters = 0
    for start, run in enumerate(zip(*(words[first:] for first in range(size)), strict=False)):
        if run in seen:
            characters += sum(map(len, words[max(start, covered) : start + size]))
            covered = start + size
        seen.add(run)
    return characters
