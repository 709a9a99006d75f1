"""Counts the tokens of a conversation exactly, by a model's own tokenizer and chat template, without the library that trains it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from src.core.errors import MlxError
from src.serve.routing.said import text_of

_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")  # marks for training, which change no text


class Tokens:
    """A tokenizer.

    Args:
        folder: Where tokenizer.json lies, with tokenizer_config.json and chat_template.jinja as transformers writes them.

    Raises:
        MlxError: Where it is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            file = folder / "tokenizer_config.json"
            settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except Exception as error:  # tokenizers raises bare exceptions
            raise MlxError(f"no tokenizer at {folder}: {error}", "give the folder with its tokenizer.json") from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.specials = {name: _text(value) for name, value in settings.items() if name.endswith("_token") and value}
        self.template = _template(folder, settings)

    def plain(self, text: str) -> int:
        """Tokens of a text that nothing is put around."""
        return len(self.tokenizer.encode(text, add_special_tokens=True).ids)

    def chat(self, body: Mapping[str, Any]) -> int:
        """Tokens of a chat request's messages and tools, as the model will read them.

        Raises:
            ValueError: Where there is no chat template, or it refuses them.
        """
        if self.template is None:
            raise ValueError("there is no chat template")
        tools = None if body.get("tool_choice") == "none" else body.get("tools") or None
        try:
            text = self.template.render(
                messages=[_rendered(each) for each in body["messages"]], tools=tools, add_generation_prompt=True, **self.specials
            )
        except Exception as error:  # a template may fail in any way
            raise ValueError(f"the chat template refuses these messages: {str(error)[:200]}") from None
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


def _template(folder: Path, settings: Mapping[str, Any]) -> Any:
    file = folder / "chat_template.jinja"
    text = file.read_text(encoding="utf-8") if file.exists() else settings.get("chat_template")
    if isinstance(text, list):
        text = next((each["template"] for each in text if each.get("name") == "default"), None)
    if not isinstance(text, str):
        return None
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: "26 Jul 2024"  # as long as any other day
    return environment.from_string(_GENERATION.sub("", text))


def _rendered(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as a chat template takes it: text in one piece, arguments as objects."""
    made = {**message, "role": "system" if message["role"] == "developer" else message["role"], "content": text_of(message)}
    if calls := message.get("tool_calls"):
        made["tool_calls"] = [{**call, "function": {**call["function"], "arguments": _opened(call["function"])}} for call in calls]
    return made


def _opened(function: Mapping[str, Any]) -> Any:
    arguments = function.get("arguments") or "{}"
    return json.loads(arguments) if isinstance(arguments, str) else arguments


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _text(value: Any) -> str:
    return str(value.get("content", "") if isinstance(value, dict) else value)
