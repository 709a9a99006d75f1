"""What models answer, made once: kept batch by batch while it runs, so that a kill costs one batch."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from src.core.files import to_json
from src.models.classifier import LoadedClassifier
from src.models.generate import Generator
from src.models.likelihood import negative_log_likelihoods
from src.models.template import Encoded

T = TypeVar("T")
Track = Callable[[Iterable[list[T]]], Iterable[list[T]]]


class Journal:
    """Rows of finished batches, one batch a line; a line that a kill cut short is no line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            whole = path.read_bytes()
            whole = whole[: whole.rfind(b"\n") + 1]
            self.rows = {row["id"]: row for line in whole.splitlines() for row in json.loads(line)}
            path.write_bytes(whole)

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Keep a finished batch."""
        with self.path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(to_json(list(rows)) + "\n")
        self.rows |= {row["id"]: row for row in rows}


def answers(
    journal: Journal, generator: Generator, prompts: dict[str, list[int]], *, max_new_tokens: int, batch_size: int, track: Track[str]
) -> list[dict[str, Any]]:
    """Answer each prompt greedily: `id`, `text`, `finish_reason`, `tokens`, in the order of `prompts`."""

    def make(names: list[str]) -> list[dict[str, Any]]:
        found = generator.batch([prompts[name] for name in names], max_new_tokens=max_new_tokens, batch_size=batch_size)
        return [
            {"id": name, "text": each.text, "finish_reason": each.finish_reason, "tokens": len(each.ids)}
            for name, each in zip(names, found, strict=True)
        ]

    lengths = {name: len(prompt) for name, prompt in prompts.items()}
    return _filled(journal, lengths, make, batch_size, track)


def likelihoods(
    journal: Journal, model: Any, rows: dict[str, Encoded], sizes: dict[str, int], *, batch_size: int, track: Track[str]
) -> list[dict[str, Any]]:
    """Score what was really said: `id`, `nats`, `tokens`, and `bytes` as given, in the order of `rows`."""

    def make(names: list[str]) -> list[dict[str, Any]]:
        found = negative_log_likelihoods(model, [rows[name] for name in names])
        return [
            {"id": name, "nats": nats, "tokens": tokens, "bytes": sizes[name]} for name, (nats, tokens) in zip(names, found, strict=True)
        ]

    lengths = {name: len(row.ids) for name, row in rows.items()}
    return _filled(journal, lengths, make, batch_size, track)


def classes(
    journal: Journal, loaded: LoadedClassifier, rows: dict[str, list[int]], *, batch_size: int, track: Track[str]
) -> list[dict[str, Any]]:
    """Ask a classifier about rows of tokens: `id` and `probabilities` in the order of its classes, in the order of `rows`."""

    def make(names: list[str]) -> list[dict[str, Any]]:
        found = loaded.probabilities([rows[name] for name in names], batch_size=batch_size)
        return [{"id": name, "probabilities": shares.tolist()} for name, shares in zip(names, found, strict=True)]

    return _filled(journal, {name: len(ids) for name, ids in rows.items()}, make, batch_size, track)


def _filled(
    journal: Journal, lengths: dict[str, int], make: Callable[[list[str]], list[dict[str, Any]]], size: int, track: Track[str]
) -> list[dict[str, Any]]:
    """Do the batches that are not in the journal; they are cut from all rows, so a run after a kill pads each row as before."""
    missing = [batch for batch in _batches(lengths, size) if batch[0] not in journal.rows]
    for batch in track(missing):
        journal.add(make(batch))
    return [journal.rows[name] for name in lengths]


def _batches(lengths: dict[str, int], size: int) -> Iterator[list[str]]:
    """Names in batches of about one length, the longest first: what does not fit into memory fails at once."""
    order = sorted(lengths, key=lambda name: (-lengths[name], name))
    yield from (order[first : first + size] for first in range(0, len(order), size))
