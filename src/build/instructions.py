"""Instructions that a passage answers, made from what stands in it: its names, its words, how it begins."""

import math
import random
import re
from collections import Counter
from collections.abc import Sequence

_NAME = re.compile(r"(?<=[a-z,;:—] )(?:[A-Z][a-z]{2,}(?:’s|'s)?)(?: [A-Z][a-z]{2,})*")
_WORD = re.compile(r"[a-z]{4,}")
_NO_NAMES = frozenset(["Well", "Yes", "And", "But", "The", "God", "Lord", "Sir", "Mr", "Mrs", "Miss", "Chapter"])
_CONTINUE = (
    "Continue:\n\n{opening}",
    "Go on from here:\n\n{opening}",
    "How does this go on?\n\n{opening}",
    "Take up the thread in your own voice:\n\n{opening}",
)
_ABOUT = ("Tell me about {names} in your own voice.", "What can you tell me about {names}?", "I would like to hear about {names}.")
_ABOUT_TITLED = ("Tell me about {names}, as in {title}.", "Give me a passage from {title} about {names}.")
_WORDED = ("Write a passage in your own voice about: {words}.", "In your own voice, tell me something with: {words}.")
_BEGUN = ("Begin with “{first}” and go on in your own voice.",)
_FIRST = 14  # words of a first sentence that may be given away


class Instructions:
    """Finds instructions for the passages of one document; what is said in every passage tells nothing about one."""

    def __init__(self, passages: Sequence[str], title: str) -> None:
        self.title = " ".join(title.split())
        self.count = len(passages)
        self.names = Counter(name for text in passages for name in set(_names(text)))
        self.words = Counter(word for text in passages for word in set(_WORD.findall(text)))

    def instruction(self, text: str, first: str, chance: random.Random) -> str:
        """Word an instruction that `text`, beginning with the sentence `first`, answers."""
        names = self.telling(Counter(_names(text)), self.names)[:2]
        words = self.telling(Counter(_WORD.findall(text)), self.words)[:3]
        choices = [*_WORDED] if len(words) == 3 else []
        if names:
            choices += [*_ABOUT, *(_ABOUT_TITLED if self.title else ())]
        if len(first.split()) <= _FIRST or not choices:
            choices += _BEGUN
        return chance.choice(choices).format(names=" and ".join(names), words=", ".join(words), title=self.title, first=_shortened(first))

    def telling(self, here: Counter[str], everywhere: Counter[str]) -> list[str]:
        """Order by tf-idf (Spärck Jones 1972); what stands in over half of the passages is left out."""
        scores = {each: count * math.log(1 + self.count / everywhere[each]) for each, count in here.items()}
        wide = max(1, self.count // 2)
        return sorted((each for each in scores if everywhere[each] <= wide), key=lambda each: (-scores[each], each))


def continuation(opening: str, chance: random.Random) -> str:
    """Word the wish that `opening` goes on."""
    return chance.choice(_CONTINUE).format(opening=opening)


def _names(text: str) -> list[str]:
    found = [re.sub(r"[’']s$", "", name) for name in _NAME.findall(text)]
    return [name for name in found if name.split()[0] not in _NO_NAMES]


def _shortened(first: str) -> str:
    words = first.split()
    return " ".join(words[:_FIRST]).strip("\"'“”‘’") + ("…" if len(words) > _FIRST else "")
