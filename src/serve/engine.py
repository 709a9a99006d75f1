"""Engines that can answer: `transformers` in this process, or a `vllm` process beside it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import Field

from src.core.config import Config, Cosmetic, FromEnv

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve.reply import Reply
    from src.serve.request import ChatRequest

LOG = logging.getLogger("mlx.serve")


class Engine(Protocol):
    """What answers chat requests."""

    @property
    def state(self) -> str:
        """`loading`, `ready`, `restarting`, `failed` or `stopped`."""

    async def run(self) -> None:
        """Load, and return or go on watching; raises where the engine is given up."""

    async def chat(self, request: "ChatRequest") -> "Reply":
        """Answer a request, or raise a RequestError."""

    async def stop(self) -> None:
        """End."""


class TransformersEngine(Config):
    """The model in the server's own process: one answer at a time, on any machine."""

    type: Literal["transformers"] = "transformers"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; auto takes CUDA where there is one."""
    queue: int = Field(default=16, ge=0)
    """How many requests may wait while one is answered; more are sent away with 503."""

    def open(self, trained: "Trained", *, name: str, max_new_tokens: int, log: Path) -> Engine:
        """Prepare the engine; it loads once it runs."""
        from src.serve.embedded import Embedded
        from src.serve.local import Local

        del log  # it logs where the server does
        return Embedded(lambda: Local.of(trained, limit=max_new_tokens, device=self.device), name=name, queue=self.queue)


class VllmEngine(Config):
    """A vLLM process: many answers at once; needs CUDA, or a vLLM built for CPUs."""

    type: Literal["vllm"] = "vllm"
    executable: Annotated[Path | None, FromEnv("VLLM_EXECUTABLE"), Cosmetic()] = None
    """Path of the `vllm` command; without it the installed one is taken where there is a CUDA device."""
    gpu_memory_utilization: float = Field(default=0.8, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes; without a GPU it means nothing."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Longest conversation in tokens, the answer included; the model's own limit if unset."""
    tool_parser: str | None = None
    """vLLM's name of the form in which the model writes tool calls; found from its chat template if unset."""
    extra_args: tuple[str, ...] = ()
    """Further arguments for `vllm serve`, as ["--quantization", "bitsandbytes"]; they win over ours."""
    startup_timeout: float = Field(default=900, gt=0)
    """Seconds that vLLM may take until it answers."""
    restarts: int = Field(default=3, ge=0)
    """How often in a row it is started again when it crashes or hangs."""

    def open(self, trained: "Trained", *, name: str, max_new_tokens: int, log: Path) -> Engine:
        """Prepare the engine; it starts once it runs."""
        from src.llm import vllm
        from src.llm.launcher import Launcher, free_port
        from src.models.load import load_tokenizer, pick_device
        from src.serve.proxied import Proxied
        from src.serve.same_tokens import same_tokens

        cuda = pick_device("auto").startswith("cuda")
        program = vllm.executable(self.executable, cuda=cuda)
        tokenizer = load_tokenizer(trained.tokenizer)
        same_tokens(tokenizer, trained.template)
        if trained.quantization != "none" and "--quantization" not in self.extra_args:
            LOG.warning(
                "trained on %s weights, served by vLLM on whole ones: answers differ a little (nf4 on a GPU: see serve.engine.extra_args)",
                trained.quantization,
            )
        port = free_port()
        command = vllm.command(
            program,
            base=trained.model,
            adapter=trained.adapter,
            tokenizer=trained.tokenizer,
            name=name,
            port=port,
            dtype=vllm.DTYPES[trained.dtype],
            tool_parser=self.tool_parser or vllm.tool_parser(str(tokenizer.chat_template)),
            max_new_tokens=max_new_tokens,
            max_model_len=self.max_model_len,
            gpu_memory_utilization=self.gpu_memory_utilization if cuda else None,
            extra=self.extra_args,
        )
        return Proxied(
            Launcher(
                command, port=port, log=log, startup_timeout=self.startup_timeout, restarts=self.restarts, environment=vllm.ENVIRONMENT
            )
        )


EngineChoice = Annotated[TransformersEngine | VllmEngine, Field(discriminator="type")]
"""The engines one may choose from."""
