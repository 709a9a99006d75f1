"""What generates the answers of models on disk: transformers in this process, or a vLLM that is started for it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from src.core.config import Config, Cosmetic, FromEnv


class InProcess(Config):
    """The model in this process, batch by batch, on any machine."""

    type: Literal["transformers"] = "transformers"


class VllmProcess(Config):
    """A vLLM process, started for the answers and ended after them; needs CUDA, or a vLLM built for CPUs."""

    type: Literal["vllm"] = "vllm"
    executable: Annotated[Path | None, FromEnv("VLLM_EXECUTABLE"), Cosmetic()] = None
    """Path of the `vllm` command; without it the installed one is taken where there is a CUDA device."""
    concurrency: Annotated[int, Field(ge=1, le=4096), Cosmetic()] = 64
    """Prompts at a time."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1), Cosmetic()] = 0.8
    """Share of the GPU's memory that vLLM takes; without a GPU it means nothing."""
    extra_args: tuple[str, ...] = ()
    """Further arguments for `vllm serve`; they win over ours."""
    timeout: Annotated[float, Field(gt=0), Cosmetic()] = 600
    """Seconds that one answer may take."""


EngineChoice = Annotated[InProcess | VllmProcess, Field(discriminator="type")]
"""The engines one may choose from."""


class Servers(ExitStack):
    """Processes that were started for this run, and where they answer; all end with the block."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: dict[str, str] = {}
