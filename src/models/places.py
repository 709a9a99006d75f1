"""Finding the token at which a place in a text begins, without making tokens of the text again."""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection

Tokenize = Callable[[str], list[int]]
_SHORT, _MANY = 64, 4096  # characters of a stretch, and stretches, that are worth remembering


class Places:
    """A text and its ids.

    Added tokens cut a text before the tokenizer's model sees it, so that the stretches between them become tokens each on
    its own: what stands before the last cut is the same in a prefix and in the whole, and only the stretch from there to
    the place has to be looked at. Prompts end in few ways (`assistant` and a line break): `known` keeps their ids.
    """

    def __init__(
        self,
        text: str,
        ids: list[int],
        *,
        cuts: re.Pattern[str] | None,
        cut_ids: Collection[int],
        tokenize: Tokenize,
        known: dict[str, list[int]],
    ) -> None:
        self._text, self._ids = text, ids
        self._tokenize, self._known = tokenize, known
        found = list(cuts.finditer(text)) if cuts else []
        places = [place for place, number in enumerate(ids) if number in cut_ids] if found else []
        self._sure = bool(found) and len(found) == len(places)
        self._starts, self._ends, self._places = [each.start() for each in found], [each.end() for each in found], places

    def of(self, at: int) -> int | None:
        """How many tokens make up the first `at` characters, or None where the tokens of the text do not tell."""
        if at == len(self._text):
            return len(self._ids)
        number = bisect_right(self._ends, at) - 1
        if not self._sure or number < 0 or (number + 1 < len(self._starts) and self._starts[number + 1] < at):
            return None
        if self._ends[number] == at:
            return self._places[number] + 1
        ids = self._of_tail(self._text[self._starts[number] : at])
        end = self._places[number] + len(ids)
        return end if self._ids[self._places[number] : end] == ids else None

    def _of_tail(self, tail: str) -> list[int]:
        if tail in self._known:
            return self._known[tail]
        ids = self._tokenize(tail)
        if len(tail) <= _SHORT and len(self._known) < _MANY:
            self._known[tail] = ids
        return ids
