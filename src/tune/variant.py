"""The project as a trial runs it: other settings, a folder of its own inside the project's."""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from src import STAGES
from src.core.files import digest
from src.core.project import Project, load
from src.core.stage import Stage, folder


def variant(project: Project, settings: Mapping[str, Any]) -> Project:
    """Return the project with `settings` (`KEY: value`) over all others, under a name of its own.

    Raises:
        ConfigError: Where the settings do not fit, or do not go together.
    """
    typed = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    models = {name: type(section) for name, section in project.sections.items()}
    found = load(project.file, [*project.overrides, *typed], models)
    return replace(found, head=found.head.model_copy(update={"name": f"{project.name}/tune/{digest(dict(settings))[:10]}"}))


def stages(project: Project, settings: Mapping[str, Any], last: str) -> list[str]:
    """The stages that a trial runs: from the first that a setting is about to `last`."""
    first = min(STAGES.index(name) if (name := key.split(".")[0]) in STAGES else 0 for key in settings)
    return [name for name in STAGES[min(first, STAGES.index(last)) : STAGES.index(last) + 1] if name in project.sections]


def linked(project: Project, trial: Project, first: str) -> None:
    """Let the trial find the outputs of the stages before `first` where it looks for them."""
    for name in STAGES[: STAGES.index(first)]:
        there, here = folder(project.name, name), folder(trial.name, name)
        if there.exists() and not here.is_symlink():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.symlink_to(Path(*[".."] * len(here.parent.parts), there), target_is_directory=True)


def stage(name: str) -> Stage[Any]:
    """Import the stage `name`."""
    found: Stage[Any] = getattr(import_module(f"src.{name}"), name)
    return found
