"""The choice of backends that YAML has by `type`."""

from typing import Annotated

from pydantic import Field

from src.llm.bedrock import BedrockBackend
from src.llm.ollama import OllamaBackend
from src.llm.openai import OpenAIBackend
from src.llm.scripted import ScriptedBackend

Backend = Annotated[OpenAIBackend | OllamaBackend | BedrockBackend | ScriptedBackend, Field(discriminator="type")]
"""A model one can talk to: each has a `name`, and `open()`, which gives a client."""
