"""Tells which embedders a gateway needs, and keeps each in one process for all who ask it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.serve.beside.keeper import Keeper
from src.serve.embedding.embedder import Embedder

if TYPE_CHECKING:
    from src.serve import ServeConfig
    from src.serve.routing.settings import Examples


def embedders(config: "ServeConfig", examples: "Examples", *, output: Path, logs: Path) -> dict[str, Keeper]:
    """The processes by the key of their embedder: one, unless memory and routes want different ones.

    Args:
        config: The settings of the server.
        examples: Prompts by task, for routes.
        output: Folder for their sockets.
        logs: Folder for what they print.
    """
    wanted: dict[str, dict[str, Any]] = {}
    if config.memory:
        wanted[config.memory.embedder.key] = _settings(config.memory.embedder)
    if config.routes and examples:
        how = config.routes.classifier
        wanted[how.embedder.key] = _settings(how.embedder) | {"examples": examples, "neighbours": how.neighbours}
    return {
        key: Keeper("src.serve.embedding.process", told, path=output / f"embedder-{key}.sock", log=logs / f"embedder-{key}.log")
        for key, told in wanted.items()
    }


def _settings(embedder: Embedder) -> dict[str, Any]:
    return {"embedder": embedder.model_dump(mode="json"), "examples": {}, "neighbours": 1}
