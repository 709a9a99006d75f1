"""What a memory answers, as JSON values: the same from its process and on the command line."""

from dataclasses import asdict
from typing import Any

from src.serve.memory.bank import Bank, Changes
from src.store.row import Vector


def found(bank: Bank, question: str, k: int, vector: Vector | None = None) -> dict[str, Any]:
    """The passages nearest to a question, the nearest first."""
    hits = [(each.chunk, each.score) for each in bank.search(question, k, vector)]
    return {"found": [{"file": chunk.file, "source": chunk.source, "text": chunk.text, "score": score} for chunk, score in hits]}


def reloaded(changes: Changes) -> dict[str, Any]:
    """What a reload did."""
    return asdict(changes)
