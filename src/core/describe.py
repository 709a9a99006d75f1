"""Settings in words: a section's keys with defaults and help, read off its model; a project's values with their origins."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from src.core.layers import Keys, dotted
from src.core.project import Head, Project

_WIDEST = 96  # characters of a value, beyond which its origin stands where it ends


def describe(model: type[BaseModel], above: str) -> Iterator[str]:
    """Yield `key = default  help` for each field, what stands below it, and one block for each type of a part."""
    yield from (f"  {line}" for line in _fields(model, f"{above}."))


def _fields(model: type[BaseModel], above: str) -> Iterator[str]:
    """Yield the fields of a model, each under the keys above it."""
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        if name == "type":
            continue
        kinds = [each for each in _models(field.annotation) if each is not model]
        if len(kinds) == 1 and not _is_many(field.annotation) and "type" not in kinds[0].model_fields:
            yield f"{key}{':' if field.default is not None else ' = null '} {_help(field, kinds[0])}"
            yield from _fields(kinds[0], f"{key}.")
            continue
        yield f"{key} = {shown_default(field)}  {field.description or ''}".rstrip()
        for kind in kinds:
            yield f"  - {kind.model_fields['type'].default if 'type' in kind.model_fields else 'each'}: {_first(kind)}"
            yield from (f"      {line}" for line in _fields(kind, ""))


def _is_many(annotation: Any) -> bool:
    """Whether a field holds several of what it names."""
    return get_origin(annotation) in (tuple, list, dict) or any(_is_many(each) for each in get_args(annotation))


def shown_default(field: FieldInfo) -> str:
    """A field's default as `--help` has it."""
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return getattr(value, "type", None) or "{…}"
    if isinstance(value, tuple):
        inner = ", ".join(str(getattr(each, "type", each)) for each in value)
        return f"[{inner}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every config model that an annotation names, in order."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for each in get_args(annotation) for model in _models(each)]


def _help(field: FieldInfo, model: type[BaseModel]) -> str:
    return field.description or _first(model)


def _first(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]


def resolved(project: Project) -> Iterator[str]:
    """Yield `key: value  # origin` for every value of a project."""
    rows = [row for key in Head.model_fields for row in _leaves(project, (key,), getattr(project.head, key))]
    rows += [row for name, section in project.sections.items() for row in _leaves(project, (name,), section)]
    width = min(max(len(text) for text, _ in rows), _WIDEST)
    yield from (f"{text:<{width}}  # {origin}" for text, origin in rows)


def _leaves(project: Project, keys: Keys, value: Any) -> Iterator[tuple[str, str]]:
    inner: dict[str | int, Any] = {}
    if isinstance(value, BaseModel):
        inner = {key: getattr(value, key) for key in type(value).model_fields}
    elif isinstance(value, dict):
        inner = dict(value)
    elif isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
        inner = dict(enumerate(value))
    for key, each in inner.items():
        yield from _leaves(project, (*keys, key), each)
    if not inner:
        shown = list(value) if isinstance(value, tuple) else value
        yield f"{dotted(keys)}: {json.dumps(shown, ensure_ascii=False, default=_plain)}", project.layers.source(keys)


def _plain(value: Any) -> str:
    return value.as_posix() if isinstance(value, Path) else str(value)
