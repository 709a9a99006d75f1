"""The pure parts of routing: which rule holds, which of several weighted models, which ones after it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from src.serve.routing.asked import Asked
from src.serve.routing.pattern import Pattern
from src.serve.routing.settings import Rule


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule, made ready."""

    rule: Rule
    regex: Pattern | None
    words: Pattern | None
    headers: tuple[tuple[str, str], ...]
    why: str
    """Its number and what it looks at."""

    @classmethod
    def of(cls, number: int, rule: Rule) -> "Condition":
        """Compile a rule."""
        looked_at = [name for name in type(rule).model_fields if name in rule.model_fields_set - {"to"}]
        return cls(
            rule,
            Pattern(rule.regex) if rule.regex is not None else None,
            Pattern.of_words(rule.keyword) if rule.keyword else None,
            tuple((key.lower(), value) for key, value in rule.header.items()),
            f"rule {number}: {', '.join(looked_at)}",
        )

    def holds(self, asked: Asked) -> bool:
        """Whether all of it is true of a request; what is cheap to know is asked first."""
        rule = self.rule
        return (
            (rule.tools is None or rule.tools == asked.tools)
            and (rule.images is None or rule.images == asked.images)
            and (rule.longer_than is None or asked.tokens > rule.longer_than)
            and (rule.shorter_than is None or asked.tokens < rule.shorter_than)
            and (not rule.role or asked.role in rule.role)
            and all(key in asked.headers and value in ("*", asked.headers[key]) for key, value in self.headers)
            and (self.words is None or self.words.found_in(asked.prompt))
            and (self.regex is None or self.regex.found_in(asked.prompt))
        )


def ruled(conditions: Iterable[Condition], asked: Asked) -> Condition | None:
    """The first that holds."""
    return next((each for each in conditions if each.holds(asked)), None)


def picked(target: dict[str, float], at: float) -> str:
    """One of several models.

    Args:
        target: Their weights.
        at: From 0 to 1: a point on the line that the weights divide.
    """
    reached = 0.0
    end = at * sum(target.values())
    for name, weight in target.items():
        reached += weight
        if end < reached:
            return name
    return next(reversed(target))


def place(*keys: str) -> float:
    """A number from 0 to 1 (1 excluded) that is always the same for the same texts, and even over different ones."""
    digest = blake2b("\x00".join(keys).encode("utf-8", "replace"), digest_size=7).digest()
    return (int.from_bytes(digest, "big") >> 3) / 2**53


def chain(first: str, fallback: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A model and those that are tried after it, each once: its own, then theirs."""
    found = [first]
    for name in found:  # it grows as it is walked
        for each in fallback.get(name, ()):
            if each not in found:
                found.append(each)
    return tuple(found)
