"""A vLLM process beside the server."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from src.core.config import Cosmetic, FromEnv
from src.core.errors import MlxError
from src.serve.engines.fits_base import fits_base
from src.serve.engines.part import Name, UpstreamPart
from src.serve.engines.source import trained_at

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    adapters: dict[Name, Path] = Field(default_factory=dict)
    """Further adapters on the same base, by the name that clients ask for: {poet: checkpoint/poet/train}."""
    load_adapters: bool = False
    """Whether administrators may load and unload adapters while it serves (/admin/adapters); so may who is logged in on this machine."""
    max_loras: int | None = Field(default=None, ge=1)
    """Adapters that one batch may mix; all that are named here if unset, and one more where others may be loaded."""
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256, 320, 512] | None = None
    """Largest rank of an adapter, of those loaded later too; that of the largest one named here if unset."""
    when_unloaded: Literal["end", "sleep"] = "end"
    """What serve.residency does with it: it ends, or sleeps with its weights in main memory and wakes in seconds (needs CUDA)."""
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
        from src.serve.engines.sleeper import Sleeper
        from src.serve.proxied import Proxied

        kind = Sleeper if self.when_unloaded == "sleep" else Proxied
        return kind(self.launcher(trained, name=name, max_new_tokens=max_new_tokens, log=log), self, name=name)

    def launcher(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Launcher":
        """Prepare the process."""
        from src.llm import vllm
        from src.llm.launcher import Launcher, free_port
        from src.models.load import load_tokenizer, pick_device
        from src.serve.same_tokens import same_tokens

        trained = trained_at(self.model, trained)
        adapters = {name: trained.adapter} if trained.adapter else {}
        adapters |= {other: found.adapter for other, found in self.others(trained).items() if found.adapter}
        longest = self.max_new_tokens or max_new_tokens
        cuda = pick_device("auto").startswith("cuda")
        if self.when_unloaded == "sleep" and not cuda:
            raise MlxError(f"{name}: vLLM cannot sleep without a CUDA device", "leave when_unloaded out: the process ends instead")
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
            quantization=self.quantization,
            tensor_parallel=self.tensor_parallel,
            data_parallel=self.data_parallel,
            loras=self._loras(adapters),
            extra=(*(("--enable-sleep-mode",) if self.when_unloaded == "sleep" else ()), *self.extra_args),
        )
        environment = vllm.ENVIRONMENT | {vllm.LOADS_ADAPTERS: str(self.load_adapters)}
        environment |= {vllm.SLEEPS: "1"} if self.when_unloaded == "sleep" else {}
        return Launcher(command, port=port, log=log, startup_timeout=self.startup_timeout, restarts=self.restarts, environment=environment)

    def others(self, trained: "Trained") -> dict[str, "Trained"]:
        """The adapters beside its own, by name; raises an MlxError where one of them does not fit."""
        return {name: fits_base(name, folder, trained, rank=self.max_lora_rank) for name, folder in self.adapters.items()}

    def rank(self, trained: "Trained") -> int:
        """The largest rank of an adapter that the process has room for."""
        from src.llm.vllm import USUAL_RANK, lora_rank

        if self.max_lora_rank:
            return self.max_lora_rank
        return max((lora_rank(each.adapter) for each in (trained, *self.others(trained).values()) if each.adapter), default=USUAL_RANK)

    def _loras(self, adapters: "Mapping[str, Path]") -> list[str] | None:
        from src.llm.vllm import lora_words

        if not adapters and not self.load_adapters:
            return None
        return lora_words(adapters, rank=self.max_lora_rank, batch=self.max_loras or len(adapters) + self.load_adapters)
