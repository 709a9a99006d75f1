"""What flipped between two evaluations: the rows that one got right and the other wrong, with both answers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.eval.significance import mcnemar

SCORES, PREDICTIONS = "scores", "predictions"
_SHOWN = 10
_LONGEST = 300

Scores = dict[str, dict[str, dict[str, Any]]]
"""By figure and row."""


@dataclass(frozen=True)
class Flips:
    """How one figure's rows changed."""

    metric: str
    both: int
    """Rows that both evaluations have."""
    fixed: list[str]
    """Rows that got better."""
    broken: list[str]
    """Rows that got worse."""

    @property
    def p(self) -> float:
        """McNemar's p-value of as many flips one way."""
        return mcnemar(len(self.broken), len(self.fixed))


def diff(before: Path, after: Path, model: str | None = None) -> Iterator[str]:
    """Tell of each figure how many rows flipped, and show some.

    Args:
        before: Folder of an evaluation.
        after: Folder of another.
        model: Whose rows; the tuned model's if unset.

    Raises:
        MlxError: Where a folder is no evaluation, or they share no row.
    """
    name = model or "tuned"
    old, new = _scores(before, name), _scores(after, name)
    said = [_said(each, name) for each in (before, after)]
    found = [_flips(metric, old[metric], new[metric]) for metric in old if metric in new]
    if not any(each.both for each in found):
        raise MlxError(f"{before} and {after} share no row", "evaluate both on the same split")
    for each in found:
        yield (
            f"{each.metric}: {len(each.fixed)} better, {len(each.broken)} worse, {each.both - len(each.fixed) - len(each.broken)} as before"
            f" (p {each.p:.3g})"
        )
    shown: set[str] = set()
    for each in found:
        if any(_share(row) not in (0.0, 1.0) for row in new[each.metric].values()):
            continue  # every row of a perplexity is another
        for word, names in (("worse", each.broken), ("better", each.fixed)):
            for row in [row for row in names if row not in shown][:_SHOWN]:
                shown.add(row)
                yield from _shown(each.metric, word, row, (old, new), said)


def _shown(metric: str, word: str, row: str, scores: tuple[Scores, Scores], said: Sequence[Mapping[str, str]]) -> Iterator[str]:
    yield f"\n{word}: {row} ({metric})"
    for label, side, texts in zip(("before", "after"), scores, said, strict=True):
        about = side[metric][row]
        text = " ".join(texts.get(row, "").split())
        cut = text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
        yield f"  {label}: {about['value']:g}{' – ' + about['why'] if about['why'] else ''}" + (f"\n    {cut}" if cut else "")


def _flips(metric: str, old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> Flips:
    rows = [row for row in old if row in new]
    sign = -1 if any(each["better"] == "lower" for each in new.values()) else 1
    apart = {row: sign * (_share(new[row]) - _share(old[row])) for row in rows}
    return Flips(metric, len(rows), [row for row in rows if apart[row] > 1e-6], [row for row in rows if apart[row] < -1e-6])


def _share(row: Mapping[str, Any]) -> float:
    return float(row["value"]) / (float(row["weight"]) or 1.0)


def _scores(folder: Path, model: str) -> Scores:
    file = folder / SCORES / f"{model}.jsonl"
    if not file.exists():
        there = ", ".join(sorted(each.stem for each in (folder / SCORES).glob("*.jsonl")))
        raise MlxError(
            f"{file} is not there", f"name one of {there} with --model" if there else "make it with `mlx eval`, and copy its folder"
        )
    found: Scores = defaultdict(dict)
    for row in read_jsonl(file):
        found[row["metric"]][row["id"]] = row
    return dict(found)


def _said(folder: Path, model: str) -> dict[str, str]:
    file = folder / PREDICTIONS / f"{model}.jsonl"
    return {row["id"]: str(row.get("text", row.get("predicted", ""))) for row in read_jsonl(file)} if file.exists() else {}
