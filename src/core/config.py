"""What a config is: a frozen pydantic model that forbids unknown keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from src.core.fieldhelp import fieldhelp


class Config(BaseModel):
    """Unknown keys are errors; values never change once loaded; the line under a field is its help.

    A part that reads files from outside the project lists them in a method `files() -> Iterable[Path]`:
    they join the fingerprint that decides whether a stage is up to date.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=(), defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Take the line under a field for its help, as `use_attribute_docstrings` does, which cost every command 0.2 CPU seconds."""
        helps = fieldhelp(cls)
        for name, field in cls.model_fields.items():
            if field.description is None and name in helps:
                field.description = helps[name]


class FromEnv(str):
    """Marks a field that an environment variable of this name sets, over the files."""


class Cosmetic:
    """Marks a field that changes no byte of the output, so a change of it leaves the output fresh."""


def must_exist(path: Path, info: ValidationInfo) -> Path:
    """Fail on a path that is not there, where the config is loaded to be run and not just shown."""
    if info.context and info.context.get("check_inputs") and not path.exists():
        raise ValueError(f"{str(path)!r} is not there (looked from {Path.cwd()})")
    return path


InputPath = Annotated[Path, AfterValidator(must_exist)]
"""A file or folder that has to be there before anything runs."""


def parts(config: BaseModel) -> Iterator[BaseModel]:
    """Yield `config` and every model inside it, depth first."""
    yield config
    for name in type(config).model_fields:
        yield from _models(getattr(config, name))


def _models(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield from parts(value)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _models(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _models(each)


def essence(value: Any) -> Any:
    """Dump a config as JSON values without its cosmetic fields: what an output depends on."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = {k: f for k, f in fields.items() if not any(isinstance(m, Cosmetic) for m in f.metadata)}
        return {key: essence(getattr(value, key)) for key in kept}
    if isinstance(value, dict):
        return {str(key): essence(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [essence(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
