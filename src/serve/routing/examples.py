"""Reads the example prompts of each task."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from src.core.errors import MlxError, did_you_mean
from src.serve.routing.settings import Examples, Routes


def examples(routes: Routes, models: Collection[str]) -> Examples:
    """The prompts by task, from the config or its file.

    Raises:
        MlxError: Where the file is none, or a task leads to no model.
    """
    found = _read(routes.examples) if isinstance(routes.examples, Path) else routes.examples
    for task, prompts in found.items():
        if task not in routes.tasks and task not in models:
            raise MlxError(
                f"serve.routes: examples of the task {task!r} lead to no model", f"set routes.tasks.{task}{did_you_mean(task, models)}"
            )
        if not prompts:
            raise MlxError(f"serve.routes: the task {task!r} has no examples", "give some, or leave it out")
    return found


def _read(path: Path) -> Examples:
    import yaml

    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MlxError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MlxError(f"{path}: {str(error).splitlines()[0]}", "write prompts by task, as in {coding: [Fix this bug, …], …}") from None
    sound = isinstance(found, dict) and all(
        isinstance(task, str) and isinstance(prompts, list) and all(isinstance(each, str) for each in prompts)
        for task, prompts in found.items()
    )
    if not sound:
        raise MlxError(f"{path} holds no prompts by task", "write it as {coding: [Fix this bug, …], fast: [Hello, …]}")
    return {task: tuple(prompts) for task, prompts in found.items()}
