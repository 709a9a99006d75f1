"""Starts a vLLM for as long as it is asked, on a free loopback port, and ends it by its own id whatever happens."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from src.core.project import Project
from src.llm import vllm
from src.llm.launcher import Launcher, free_port
from src.models.load import load_tokenizer, pick_device
from src.train.verification.served import Served


@dataclass(frozen=True)
class Vllm:
    """How vLLM is started on this machine for this project."""

    program: str
    cuda: bool
    name: str
    log: Path
    utilization: float | None = None
    quantization: str | None = None
    tensor_parallel: int = 1
    data_parallel: int = 1
    extra: tuple[str, ...] = ()

    @classmethod
    def of(cls, project: Project) -> Self:
        """Take the executable and arguments that `serve.engine` names, else those of this machine.

        Raises:
            MlxError: Where there is no vLLM that can run here.
        """
        cuda = pick_device("auto").startswith("cuda")
        serve: Any = project.sections.get("serve")
        engine = getattr(serve, "engine", None)
        given = getattr(engine, "executable", None) or os.environ.get("VLLM_EXECUTABLE")
        return cls(
            vllm.executable(Path(given) if given else None, cuda=cuda),
            cuda,
            getattr(serve, "model_name", None) or project.name,
            Path("log") / project.name / "verify-vllm.log",
            getattr(engine, "gpu_memory_utilization", 0.8) if cuda else None,
            getattr(engine, "quantization", None),
            getattr(engine, "tensor_parallel", 1),
            getattr(engine, "data_parallel", 1),
            tuple(getattr(engine, "extra_args", ())),
        )

    @property
    def quantises(self) -> bool:
        """Whether the project has vLLM quantise the base, as the training did."""
        return self.quantization is not None or "--quantization" in self.extra

    @contextmanager
    def serving(
        self, base: str, adapter: Path | None, tokenizer: Path, *, dtype: str, longest: int, extra: Sequence[str] = ()
    ) -> Iterator[Served]:
        """Serve a model in the block; `longest` is how many tokens a conversation may have."""
        template = str(load_tokenizer(tokenizer).chat_template)
        port = free_port()
        command = vllm.command(
            self.program,
            base=base,
            adapter=adapter,
            tokenizer=tokenizer,
            name=self.name,
            port=port,
            dtype=vllm.DTYPES[dtype],
            tool_parser=vllm.tool_parser(template),
            max_new_tokens=1,
            max_model_len=longest,
            gpu_memory_utilization=self.utilization,
            quantization=self.quantization,
            tensor_parallel=self.tensor_parallel,
            data_parallel=self.data_parallel,
            extra=(*self.extra, *extra),
        )
        environment = vllm.ENVIRONMENT | ({} if self.cuda else {key: os.environ.get(key, value) for key, value in vllm.ON_CPU.items()})
        with Launcher(command, port=port, log=self.log, startup_timeout=900, restarts=0, environment=environment) as launcher:
            launcher.wait()
            yield Served(launcher.url, self.name)
