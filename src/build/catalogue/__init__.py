"""Tools to practise with: their schemas, what people ask of them, and made-up but well-formed results."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def table(name: str) -> Any:
    """Read one of the YAML tables beside this file."""
    text = (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def schema(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool of the catalogue as an OpenAI function tool."""
    parameters = {
        "type": "object",
        "properties": tool["parameters"],
        "required": tool.get("required", list(tool["parameters"])),
        "additionalProperties": False,
    }
    function = {"name": tool["name"], "description": tool["description"].strip(), "parameters": parameters}
    return {"type": "function", "function": function}
