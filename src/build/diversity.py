"""How varied generated dialogues are: distinct runs of words, and how much the most frequent pattern makes up."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.text.normalise import normalise
from src.text.shingles import words

_NUMBER = re.compile(r"[-−]?\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<=[^.!?…“\"] )[A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*")


def diversity(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Measure the requests and the last answers of examples.

    Distinct-n is the share of different runs of n words among all (Li et al. 2016, "A Diversity-Promoting Objective
    Function for Neural Conversation Models"); it falls with the number of rows. A template is a text with its numbers and
    names taken out.

    Returns:
        For `requests` and `answers`: `rows`, `different`, `distinct_1` to `distinct_3`, `templates`, and `largest_template`, its share.
    """
    asked, answered = [], []
    for row in rows:
        said = row["messages"]
        asked += [str(message["content"]) for message in said if message["role"] == "user"][:1]
        answered += [str(said[-1]["content"])] if said and said[-1].get("content") else []
    return {"requests": _measured(asked), "answers": _measured(answered)}


def template(text: str) -> str:
    """A text with its numbers and names taken out."""
    return _NUMBER.sub("0", _NAME.sub("X", text)).casefold()


def _measured(texts: Sequence[str]) -> dict[str, Any]:
    if not texts:
        return {"rows": 0}
    said = [words(normalise(text)) for text in texts]
    patterns = Counter(map(template, texts))
    return {
        "rows": len(texts),
        "different": len(set(texts)),
        **{f"distinct_{size}": _distinct(said, size) for size in (1, 2, 3)},
        "templates": len(patterns),
        "largest_template": round(max(patterns.values()) / len(texts), 4),
    }


def _distinct(said: Iterable[Sequence[str]], size: int) -> float:
    runs = Counter(tuple(each[start : start + size]) for each in said for start in range(len(each) - size + 1))
    return round(len(runs) / max(1, runs.total()), 4)
