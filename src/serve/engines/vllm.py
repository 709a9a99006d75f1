"""A vLLM process beside the server."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from src.core.config import Cosmetic, FromEnv
from src.serve.engines.part import UpstreamPart
from src.serve.engines.source import trained_at

if TYPE_CHECKING:
    from src.llm.launcher import Launcher
    from src.models.trained import Trained
    from src.serve.engine import Engine

LOG = logging.getLogger("mlx.serve")


class VllmEngine(UpstreamPart):
    """A vLLM process: many answers at once; needs CUDA, or a vLLM built for CPUs."""

    type: Literal["vllm"] = "vllm"
    model: Path | None = None
    """Folder of the training whose model it is (checkpoint/NAME/train); the project's own if unset."""
    executable: Annotated[Path | None, FromEnv("VLLM_EXECUTABLE"), Cosmetic()] = None
    """Path of the `vllm` command; without it the installed one is taken where there is a CUDA device."""
    gpu_memory_utilization: float = Field(default=0.8, gt=0, le=1)
    """Share of the GPU's memory that vLLM takes; without a GPU it means nothing."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Longest conversation in tokens, the answer included; the model's own limit if unset."""
    quantization: str | None = None
    """How vLLM packs the weights, as it names it: fp8, bitsandbytes, awq, …; as they are if unset."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that one copy of the model is split over."""
    data_parallel: int = Field(default=1, ge=1)
    """Copies of the model, each on GPUs of its own."""
    tool_parser: str | None = None
    """vLLM's name of the form in which the model writes tool calls; found from its chat template if unset."""
    extra_args: tuple[str, ...] = ()
    """Further arguments for `vllm serve`, as ["--quantization", "bitsandbytes"]; they win over ours."""
    startup_timeout: float = Field(default=900, gt=0)
    """Seconds that vLLM may take until it answers."""
    restarts: int = Field(default=3, ge=0)
    """How often in a row it is started again when it crashes or hangs."""

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare the engine; it starts once it runs."""
        from src.serve.proxied import Proxied

        return Proxied(self.launcher(trained, name=name, max_new_tokens=max_new_tokens, log=log), self, name=name)

    def launcher(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Launcher":
        """Prepare the process."""
        from src.llm import vllm
        from src.llm.launcher import Launcher, free_port
        from src.models.load import load_tokenizer, pick_device
        from src.serve.same_tokens import same_tokens

        trained = trained_at(self.model, trained)
        longest = self.max_new_tokens or max_new_tokens
        cuda = pick_device("auto").startswith("cuda")
        program = vllm.executable(self.executable, cuda=cuda)
        tokenizer = load_tokenizer(trained.tokenizer)
        same_tokens(tokenizer, trained.template)
        if trained.quantization != "none" and not self.quantization and "--quantization" not in self.extra_args:
            LOG.warning(
                "trained on %s weights, served by vLLM on whole ones: answers differ a little (nf4 on a GPU: quantization: bitsandbytes)",
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
            max_new_tokens=longest,
            max_model_len=self.max_model_len or self.context,
            gpu_memory_utilization=self.gpu_memory_utilization if cuda else None,
            extra=(*self._flags(), *self.extra_args),
        )
        return Launcher(
            command, port=port, log=log, startup_timeout=self.startup_timeout, restarts=self.restarts, environment=vllm.ENVIRONMENT
        )

    def _flags(self) -> list[str]:
        made = ["--quantization", self.quantization] if self.quantization else []
        for name, count in (("tensor", self.tensor_parallel), ("data", self.data_parallel)):
            made += [f"--{name}-parallel-size", str(count)] if count > 1 else []
        return made
