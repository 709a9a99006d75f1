"""Cutting prose into passages at the ends of paragraphs and sentences, never inside one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from src.build.candidate import Measure
from src.build.prose import sections
from src.text.sentences import ENDED, sentences

_FULL = 0.75  # share of the budget from which the end of a paragraph is taken rather than one more sentence


@dataclass(frozen=True)
class Sentence:
    """A sentence, with those it cannot be parted from."""

    text: str
    opens: bool
    """Whether it begins a paragraph."""


@dataclass(frozen=True)
class Passage:
    """Sentences in a row, within the budget."""

    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The passage, its paragraphs apart by an empty line."""
        return joined(self.sentences)


@dataclass(frozen=True)
class TooLong:
    """A single sentence over the budget."""

    text: str
    tokens: int


def cut(text: str, *, budget: int, measure: Measure) -> Iterator[Passage | TooLong]:
    """Cut a document into passages of at most `budget` tokens, which end at the end of a sentence and span no heading."""
    for section in sections(text):
        found = units(section)
        costs = [cost + one.opens for cost, one in zip(measure([" " + one.text for one in found]), found, strict=True)]
        yield from _packed(found, costs, budget, measure)


def units(paragraphs: Sequence[str]) -> list[Sentence]:
    """Sentences of paragraphs; one that does not end as a sentence does (a colon, a dash) keeps what follows."""
    found: list[Sentence] = []
    for paragraph in paragraphs:
        # a verse stays whole, with its lines
        for number, text in enumerate([paragraph] if "\n" in paragraph else sentences(paragraph)):
            if found and not ENDED.search(found[-1].text):
                last = found.pop()
                found.append(Sentence(last.text + (" " if number else "\n\n") + text, last.opens))
            else:
                found.append(Sentence(text, opens=number == 0))
    return found[:-1] if found and not ENDED.search(found[-1].text) else found


def joined(parts: Sequence[Sentence]) -> str:
    """Put sentences back together."""
    text = "".join(("\n\n" if one.opens else " ") + one.text for one in parts)
    return text.strip()


def _packed(found: list[Sentence], costs: list[int], budget: int, measure: Measure) -> Iterator[Passage | TooLong]:
    start = 0
    while start < len(found):
        if costs[start] > budget:
            yield TooLong(found[start].text, costs[start])
            start += 1
            continue
        end = _paragraph_end(found, costs, start, _fitting(costs, start, budget), budget)
        while end - start > 1 and measure([joined(found[start:end])])[0] > budget:
            end -= 1
        yield Passage(tuple(found[start:end]))
        start = end


def _fitting(costs: list[int], start: int, budget: int) -> int:
    used, end = 0, start
    while end < len(costs) and used + costs[end] <= budget:
        used += costs[end]
        end += 1
    return end


def _paragraph_end(found: list[Sentence], costs: list[int], start: int, end: int, budget: int) -> int:
    """Go back to the last end of a paragraph, where that leaves the passage full enough."""
    if end == len(found):
        return end
    for place in range(end, start, -1):
        if found[place].opens and sum(costs[start:place]) >= _FULL * budget:
            return place
    return end
