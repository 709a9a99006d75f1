"""The pipeline: every stage in the order in which data flows; what is fresh, what is stale and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from src import STAGES
from src.core.changes import changes
from src.core.config import Config, essence
from src.core.errors import MlxError
from src.core.manifest import Manifest
from src.core.project import Project, load, project_model
from src.core.stage import Stage, folder

LAST = "eval"
"""Where `run` ends unless told otherwise: serving has no end."""


@cache
def stage(name: str) -> Stage[Any]:
    """Import the stage `name`."""
    found: Stage[Any] = getattr(import_module(f"src.{name}"), name)
    return found


class Sections(Mapping[str, type[Config]]):
    """The config model of every section, by name; those that nobody looks up are not imported."""

    def __contains__(self, name: object) -> bool:
        return name in (*STAGES, "tune")

    def __getitem__(self, name: str) -> type[Config]:
        return section_model(name)

    def __iter__(self) -> Iterator[str]:
        return iter((*STAGES, "tune"))

    def __len__(self) -> int:
        return len(STAGES) + 1


def section_model(name: str) -> type[Config]:
    """The config model of one section: a stage's, or the search's."""
    if name == "tune":
        from src.tune import TuneConfig

        return TuneConfig
    model: type[Config] = stage(name).Config
    return model


def load_project(file: str | Path, overrides: Sequence[str] = (), *, check_inputs: bool = True) -> Project:
    """Read a project file and check all its sections at once."""
    return load(file, overrides, Sections(), check_inputs=check_inputs)


def schema() -> dict[str, Any]:
    """JSON Schema of a project file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **project_model(Sections()).model_json_schema()}


def chain(project: Project, first: str | None = None, until: str = LAST) -> list[str]:
    """The project's stages in order, from `first` to `until`, both included."""
    for name in (first, until):
        if name and name not in STAGES:
            raise MlxError(f"{name!r} is no stage", f"choose from {', '.join(STAGES)}")
    low, high = STAGES.index(first or STAGES[0]), STAGES.index(until)
    found = [name for name in STAGES[low : high + 1] if name in project.sections]
    if not found:
        raise MlxError(f"{project.file} has no stage from {first or STAGES[0]} to {until}", "add a section such as `scrape:` to it")
    return found


def run(project: Project, *, force: bool = False, first: str | None = None, until: str = LAST) -> Iterator[Manifest]:
    """Run the project's stages in order, passing over what is fresh; yield each manifest as it is there."""
    names = chain(project, first, until)
    _ready(project, names, force=force)
    for name in names:
        yield stage(name)(project, force=force)


def _ready(project: Project, names: Sequence[str], *, force: bool) -> None:
    """Find out now, not hours on, that a stage which is going to run cannot run here."""
    fresh = set() if force else {state.stage for state in states(project) if state.fresh}
    for name in names:
        ready = getattr(project.sections[name], "ready", None)
        if ready is None or name in fresh:
            continue
        try:
            ready()
        except MlxError as error:
            before = names[: names.index(name)]
            hint = f"; `mlx run {project.arguments} --until {before[-1]}` does what can be done here" if before else ""
            raise MlxError(str(error), error.hint + hint) from None


@dataclass(frozen=True)
class State:
    """How a stage of a project stands."""

    stage: str
    manifest: Manifest | None
    fresh: bool
    why: str
    """Why it is not fresh, or nothing."""


def states(project: Project) -> Iterator[State]:
    """Tell for each stage of the project whether its output is what its config and inputs would give now."""
    stale: set[str] = set()
    for name in STAGES:
        if name not in project.sections or getattr(stage(name), "service", False):
            continue
        state = _state(project, name, stale)
        if not state.fresh:
            stale.add(name)
        yield state


def _state(project: Project, name: str, stale: set[str]) -> State:
    each = stage(name)
    manifest = Manifest.find(folder(project.name, name))
    if manifest is None:
        return State(name, None, False, "unfinished" if (folder(project.name, name) / ".work").exists() else "not run yet")
    makers = [maker for maker in each.makers(project) if maker in stale]
    if makers:
        return State(name, manifest, False, f"{makers[0]} is stale")
    inputs = each.inputs(project)
    if manifest.key == each.key(project, inputs):
        return State(name, manifest, True, "")
    return State(name, manifest, False, _difference(manifest, project, name, inputs))


def _difference(manifest: Manifest, project: Project, name: str, inputs: Mapping[str, Any]) -> str:
    """Say in words what changed since `manifest` was written."""
    was = {role: [origin.fingerprint for origin in origins] for role, origins in manifest.inputs.items()}
    for role, found in inputs.items():
        if was.get(role) != [each.fingerprint for each in found]:
            return f"its {role} input changed"
    if manifest.seed != project.head.seed:
        return f"seed {manifest.seed} → {project.head.seed}"
    found = list(changes(manifest.config, essence(project.section(name))))
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "") if found else "a file it read changed"
