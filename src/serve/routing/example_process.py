"""The process that compares prompts with examples: lines of JSON in and out, so that no server has to hold the sentence model."""

import json
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from pydantic import TypeAdapter

from src.serve.memory.embedder import Embedder
from src.serve.routing.nearest import nearest
from src.serve.routing.settings import Examples

BATCH = 16
"""Prompts embedded at once, where so many wait."""


class Compared:
    """Examples as vectors."""

    def __init__(self, embedder: Any, examples: Examples, neighbours: int) -> None:
        self.embedder = embedder
        self.neighbours = neighbours
        self.vectors = {task: embedder.embed(prompts) for task, prompts in examples.items()}

    def tasks(self, prompts: Sequence[str]) -> list[dict[str, Any]]:
        """For each prompt the nearest task, its score and its margin."""
        found = self.embedder.embed(prompts)
        cosines = {task: vectors @ found.T for task, vectors in self.vectors.items()}
        rows = []
        for column in range(len(prompts)):
            best = nearest({task: map(float, each[:, column]) for task, each in cosines.items()}, self.neighbours)
            rows.append({"task": best.task, "score": round(best.score, 4), "margin": round(best.margin, 4)})
        return rows


def opened(settings: Mapping[str, Any]) -> Compared:
    """Load what the first line of input asks for."""
    embedder = TypeAdapter(Embedder).validate_python(settings["embedder"])
    return Compared(embedder.open(), {task: tuple(prompts) for task, prompts in settings["examples"].items()}, settings["neighbours"])


def main(source: TextIO, sink: TextIO) -> None:
    """Answer until the input ends, which it does when the server does."""
    compared = opened(json.loads(source.readline()))
    _tell(sink, {"ready": True})
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, lines), daemon=True).start()
    ended = False
    while not ended:
        waiting = _waiting(lines)
        ended = not waiting[-1]
        rows = [json.loads(line) for line in waiting if line]
        found = compared.tasks([each["prompt"] for each in rows]) if rows else []
        for row, each in zip(rows, found, strict=True):
            _tell(sink, {"id": row["id"], **each})


def _read(source: TextIO, lines: "queue.SimpleQueue[str]") -> None:
    for line in source:
        lines.put(line)
    lines.put("")


def _waiting(lines: "queue.SimpleQueue[str]") -> list[str]:
    """What has come in, one line at least; the last one is empty where the input has ended."""
    found = [lines.get()]
    while found[-1] and len(found) < BATCH and not lines.empty():
        found.append(lines.get())
    return found


def _tell(sink: TextIO, row: Mapping[str, Any]) -> None:
    sink.write(json.dumps(row) + "\n")
    sink.flush()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
