"""Writes the merged model as a GGUF file with a Modelfile, for llama.cpp and Ollama, and reads it back before it is put in place."""

from typing import Literal

from src.core.run import Run
from src.core.stage import StageConfig, stage

Kind = Literal["f32", "f16", "bf16", "q8_0"]


class GgufConfig(StageConfig):
    """Write a GGUF."""

    kind: Kind = "f16"
    """What the weights are kept in."""
    num_ctx: int | None = None
    """Context."""


@stage(reads={"model": ("merge",), "evaluation": ("eval", None)}, volatile=("README.md",), at="checkpoint/{name}/export/gguf")
def gguf(config: GgufConfig, run: Run) -> None:
    """Write the merged model as a GGUF file with a Modelfile and a card."""
