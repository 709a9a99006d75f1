"""Reads a request that may be anything at all: either it is sound, or a RequestError says what to change."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from src.serve.fields import ClassifyFields, CompletionFields, EmbeddingFields, Fields
from src.serve.request import CHAT, CLASSIFY, COMPLETIONS, EMBEDDINGS, Call, RequestError
from src.serve.sound import read_json

_ASCII = rb"\\u00[0-7][0-9a-fA-F]"
_DISGUISED = re.compile(rb'"[a-zA-Z0-9_]{0,40}' + _ASCII + rb"(?:[a-zA-Z0-9_]|" + _ASCII + rb'){0,40}"\s*:')
"""A key that is written with escapes where none is needed, so that it does not look like itself."""
SHAPES: dict[str, type[BaseModel]] = {CHAT: Fields, COMPLETIONS: CompletionFields, EMBEDDINGS: EmbeddingFields, CLASSIFY: ClassifyFields}
_NAMES = {path: frozenset(shape.model_fields) for path, shape in SHAPES.items()}


def parse(raw: bytes, path: str = CHAT) -> Call:
    """Read the body of a request to `path`.

    Raises:
        RequestError: With 400 and the field to change.
    """
    body = read_json(raw)
    if not isinstance(body, dict):
        raise RequestError(400, "the body has to be a JSON object")
    _plain(body, _NAMES[path])
    try:
        fields: Any = SHAPES[path].model_validate(body)
    except ValidationError as error:
        raise _refused(error) from None
    if raw.count(b'"model"') > 1 or (b"\\u00" in raw and _DISGUISED.search(raw)):
        return Call(path, fields, body)  # two of a name could mean one model here and another behind us
    return Call(path, fields, body, raw)


def _plain(body: dict[str, Any], names: frozenset[str]) -> None:
    """Refuse keys that some readers (Go's, so Ollama's) take for one of ours whatever their case: they would mean another thing there."""
    for key in body:
        if key not in names and not (key.islower() and key.isascii()) and (meant := key.casefold()) in names:
            raise RequestError(400, f"{key[:40]}: did you mean {meant!r}?", code="unknown_parameter", param=meant)


def _refused(error: ValidationError) -> RequestError:
    found = error.errors(include_url=False)[0]
    # a number among the alternatives of a field is no key of the client's
    where = ".".join(str(key) for key in found["loc"] if not (isinstance(key, str) and "[" in key))
    message = str(found["msg"]).removeprefix("Value error, ")
    return RequestError(400, f"{where}: {message[0].lower()}{message[1:]}", param=str(found["loc"][0]))
