"""A project: one YAML file, read through its layers, every section checked before anything runs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, create_model

from src.core.config import Config, Cosmetic, FromEnv
from src.core.errors import ConfigError
from src.core.faults import faults
from src.core.layers import Keys, Layers, local
from src.core.secrets import load_env

DEFAULT = Path("config/main.yaml")


class Head(Config):
    """The keys of a project file that are no stage's section."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    """Name of the project: outputs go to data/NAME, checkpoint/NAME and log/NAME."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seed of everything random."""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], FromEnv("LOG_LEVEL"), Cosmetic()] = "INFO"
    """How much the console says; the log file always has all of it."""
    model_cache: Annotated[Path, FromEnv("MODEL_CACHE_DIR"), Cosmetic()] = Path("checkpoint/cache")
    """Where models made here are kept between projects."""


@dataclass(frozen=True)
class Project:
    """A loaded project file."""

    file: Path
    head: Head
    sections: dict[str, Config]
    """The checked config of each stage that the file has a section for."""
    present: frozenset[str]
    """Top-level keys of the file, known or not to whoever loaded it."""
    layers: Layers
    overrides: tuple[str, ...] = ()

    @property
    def arguments(self) -> str:
        """File and overrides as one types them behind a command."""
        return " ".join([self.file.as_posix(), *map(shlex.quote, self.overrides)])

    @property
    def name(self) -> str:
        """The project's name."""
        return self.head.name

    def section(self, stage: str) -> Config:
        """The config of `stage`, or an error that says how to add it."""
        try:
            return self.sections[stage]
        except KeyError:
            raise ConfigError(f"{self.file}: has no section `{stage}:`", hint=f"add `{stage}: {{}}` to it to take the defaults") from None


def load(
    file: str | Path, overrides: Sequence[str], stages: Mapping[str, type[Config]], *, whole: bool = True, check_inputs: bool = True
) -> Project:
    """Read `file`, its local overlay, the environment and `overrides`, and check them all at once.

    Args:
        file: The project's YAML file.
        overrides: `KEY=VALUE` texts, each over the ones before.
        stages: The config model of each section; of sections that are not there only the name is looked at.
        whole: Whether `stages` are all there are, so that another top-level key is a fault.
        check_inputs: Whether files that the config names have to be there.

    Raises:
        ConfigError: With one line per fault.
    """
    load_env()
    file = Path(file)
    layers = Layers()
    layers.add_file(file)
    if local(file).exists():
        layers.add_file(local(file))
    for text in overrides:
        layers.add_override(text)
    model = project_model({name: stages[name] if name in layers.values else Config for name in stages})
    layers.add_environment(environment(model, {k: {} if v is None and k in stages else v for k, v in layers.values.items()}))
    present = frozenset(key for key, value in layers.values.items() if value is not None or key in stages)
    known = {k: {} if v is None and k in stages else v for k, v in layers.values.items() if whole or k in model.model_fields}
    found = list(layers.faults)
    try:
        project = model.model_validate(known, context={"check_inputs": check_inputs})
    except ValidationError as error:
        found += faults(error, model, layers.origin)
    if found:
        raise ConfigError("\n".join(dict.fromkeys(str(fault) for fault in sorted(found, key=_by_line))))
    sections = {name: getattr(project, name) for name in stages if name in present}
    head = Head.model_validate({key: getattr(project, key) for key in Head.model_fields})
    return Project(file, head, sections, present, layers, tuple(overrides))


def project_model(stages: Mapping[str, type[Config]]) -> type[Head]:
    """The model of a whole file: the head, and a section a stage."""
    fields: dict[str, Any] = {name: (model | None, Field(default=None, description=_first_line(model))) for name, model in stages.items()}
    return create_model("Project", __base__=Head, **fields)


def environment(model: type[BaseModel], values: Mapping[str, Any], above: Keys = ()) -> dict[Keys, str]:
    """Key paths that an environment variable sets, from the fields marked `FromEnv` of the model and of the parts that `values` chooses."""
    found: dict[Keys, str] = {}
    for key, info in model.model_fields.items():
        found |= {(*above, key): str(mark) for mark in info.metadata if isinstance(mark, FromEnv)}
        value = values.get(key, {} if _is_model(info.annotation) else None)
        for keys, part, inner in _chosen(info.annotation, value, (*above, key)):
            found |= environment(part, inner, keys)
    return found


def _chosen(annotation: Any, value: Any, keys: Keys) -> Iterator[tuple[Keys, type[BaseModel], dict[str, Any]]]:
    """Yield the models that `value` is going to be read as, by its `type` where there is a choice, with their key paths and values."""
    if _is_model(annotation):
        kind = annotation.model_fields.get("type")
        if isinstance(value, dict) and (kind is None or value.get("type") in (None, *get_args(kind.annotation))):
            yield keys, annotation, value
    elif get_origin(annotation) is dict and isinstance(value, dict):
        for key, each in value.items():
            yield from _chosen(get_args(annotation)[1], each, (*keys, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            for inner in get_args(annotation):
                yield from _chosen(inner, each, (*keys, index))
    else:
        for inner in get_args(annotation):
            yield from _chosen(inner, value, keys)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _first_line(model: type[Config]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]


def _by_line(fault: Any) -> tuple[str, int]:
    file, _, line = fault.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else (chr(0x10FFFF), 0)
