"""Compares token ids and log-probabilities, and shows where two first part."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from src.train.verification.rows import Conversation

Verdict = Literal["pass", "fail", "figure"]
LEFT = 24
"""Tokens of context that are shown before a difference."""


@dataclass(frozen=True)
class Allowed:
    """How far log-probabilities, in nats a token, may lie apart."""

    largest: float
    mean: float

    def __str__(self) -> str:
        return f"{self.largest:g} / {self.mean:g}"


ALLOWED = {"fp32": Allowed(1e-3, 1e-4), "bf16": Allowed(0.25, 0.03), "fp16": Allowed(0.1, 0.01)}
"""Of two programs that compute the same function in this dtype."""
ROUNDED = {"fp32": ALLOWED["fp32"], "bf16": Allowed(1.0, 0.05), "fp16": Allowed(0.25, 0.02)}
"""Of one function before and after its weights were rounded to this dtype."""


@dataclass(frozen=True)
class Difference:
    """The first place where two part."""

    row: str
    position: int
    """Place among the row's tokens."""
    left: str
    """The text before it."""
    expected: str
    served: str
    expected_id: int | None = None
    served_id: int | None = None

    def lines(self) -> list[str]:
        """For the screen."""
        return [
            f"row {self.row}, token {self.position}, after {self.left!r}",
            f"  expected {_token(self.expected, self.expected_id)}",
            f"  served   {_token(self.served, self.served_id)}",
        ]


@dataclass(frozen=True)
class Check:
    """One comparison."""

    name: str
    against: str
    verdict: Verdict
    rows: int
    tokens: int
    differ: int | None = None
    """Rows whose token ids differ."""
    largest: float | None = None
    mean: float | None = None
    allowed: Allowed | None = None
    first: Difference | None = None
    values: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    """Pairs of log-probabilities, for the plot."""

    def as_json(self) -> dict[str, Any]:
        """What verify.json says."""
        return {key: value for key, value in asdict(self).items() if key != "values"}

    def cells(self) -> list[str]:
        """A row of the table."""
        if self.differ is not None:
            return [self.name, self.against, f"{self.tokens:,}", f"{self.differ} rows differ", "", "none", self.verdict]
        apart = (f"{self.largest:.1e}", f"{self.mean:.1e}", str(self.allowed or "–"))
        return [self.name, self.against, f"{self.tokens:,}", *apart, self.verdict]


def same_ids(name: str, rows: Sequence[Conversation], pairs: Sequence[tuple[int, list[int], list[int]]], tokenizer: Any) -> Check:
    """Compare ids: `pairs` holds the number of a row, the ids expected and those served."""
    apart = [(rows[number], ours, theirs) for number, ours, theirs in pairs if ours != theirs]
    first = _first_id(*apart[0], tokenizer) if apart else None
    tokens = sum(len(ours) for _, ours, _ in pairs)
    return Check(
        name, "mlx's own tokens", "fail" if apart else "pass", len(rows), tokens, differ=len({row.id for row, _, _ in apart}), first=first
    )


def same_log_probs(
    name: str,
    against: str,
    rows: Sequence[Conversation],
    expected: Sequence[Sequence[float]],
    found: Sequence[Sequence[float]],
    tokenizer: Any,
    *,
    allowed: Allowed | None,
) -> Check:
    """Compare log-probabilities of all tokens of all rows; without `allowed` it is a figure, and fails nothing."""
    pairs = [pair for ours, theirs in zip(expected, found, strict=True) for pair in zip(ours, theirs, strict=True)]
    apart = [abs(ours - theirs) for ours, theirs in pairs]
    largest, mean = max(apart), sum(apart) / len(apart)
    verdict: Verdict = "figure"
    first = None
    if allowed:
        # written so that a value that is no number fails
        verdict = "pass" if largest <= allowed.largest and mean <= allowed.mean else "fail"
        first = _first_value(rows, expected, found, tokenizer, allowed) if verdict == "fail" else None
    return Check(
        name, against, verdict, len(rows), len(pairs), largest=largest, mean=mean, allowed=allowed, first=first, values=tuple(pairs)
    )


def _first_id(row: Conversation, ours: list[int], theirs: list[int], tokenizer: Any) -> Difference:
    at = next((n for n, (left, right) in enumerate(zip(ours, theirs, strict=False)) if left != right), min(len(ours), len(theirs)))
    mine, other = (ids[at] if at < len(ids) else None for ids in (ours, theirs))
    return Difference(
        row.id,
        at,
        tokenizer.decode(ours[max(0, at - LEFT) : at]),
        "the end" if mine is None else tokenizer.decode([mine]),
        "the end" if other is None else tokenizer.decode([other]),
        mine,
        other,
    )


def _first_value(
    rows: Sequence[Conversation], expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]], tokenizer: Any, allowed: Allowed
) -> Difference | None:
    """The first token beyond the largest difference, or the one that is furthest apart where only the mean is too large."""
    places = [
        (row, at, ours, theirs)
        for row, mine, others in zip(rows, expected, found, strict=True)
        for at, (ours, theirs) in enumerate(zip(mine, others, strict=True), start=1)
    ]
    beyond = (place for place in places if not abs(place[2] - place[3]) <= allowed.largest)
    row, at, ours, theirs = next(beyond, None) or max(places, key=lambda place: abs(place[2] - place[3]))
    token = tokenizer.decode([row.ids[at]])
    left = tokenizer.decode(row.ids[max(0, at - LEFT) : at])
    return Difference(row.id, at, left, f"{token!r} at {ours:.4f} nats", f"{token!r} at {theirs:.4f} nats")


def _token(text: str, number: int | None) -> str:
    return text if number is None else f"{text!r} (id {number})"
