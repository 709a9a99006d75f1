"""The engines one may choose from: `type` says which."""

from typing import Annotated

from pydantic import Field

from src.serve.engines.bedrock import BedrockEngine
from src.serve.engines.classifier import ClassifierEngine
from src.serve.engines.ollama import OllamaEngine
from src.serve.engines.openai import OpenAIEngine
from src.serve.engines.process import ProcessEngine
from src.serve.engines.transformers import TransformersEngine
from src.serve.engines.vllm import VllmEngine

EngineChoice = Annotated[TransformersEngine | VllmEngine | ClassifierEngine, Field(discriminator="type")]
"""What can serve the project's own model."""
ModelChoice = Annotated[
    OpenAIEngine | OllamaEngine | BedrockEngine | ProcessEngine | VllmEngine | TransformersEngine | ClassifierEngine,
    Field(discriminator="type"),
]
"""What can serve a further model."""
