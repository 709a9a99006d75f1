"""Any server with OpenAI's API that is started beside ours: llama.cpp's, another `mlx serve`, text-generation-inference."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from src.serve.engines.part import UpstreamPart

if TYPE_CHECKING:
    from src.llm.launcher import Launcher
    from src.models.trained import Trained
    from src.serve.engine import Engine

PORT = "{port}"


class ProcessEngine(UpstreamPart):
    """A server with OpenAI's API, started from a command and watched; with `serve.residency` only while its model is wanted."""

    type: Literal["process"]
    """A server that is started from a command."""
    command: tuple[str, ...] = Field(min_length=2)
    """Its command line, as [llama-server, -m, tiny.gguf, --port, "{port}"]; {port} becomes a free one of 127.0.0.1."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """Name of the model, as that server knows it; the one that clients ask for if unset."""
    paths: tuple[Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"], ...] = ("/v1/chat/completions", "/v1/completions")
    """What it answers; a server of embeddings often answers nothing else."""
    health: str = Field(default="/health", pattern="^/")
    """Path that answers 200 once it is ready."""
    startup_timeout: float = Field(default=300, gt=0)
    """Seconds that it may take until then."""
    restarts: int = Field(default=3, ge=0)
    """How often in a row it is started again when it crashes or hangs."""

    @field_validator("command")
    @classmethod
    def _listens(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not any(PORT in word for word in command):
            raise ValueError("holds no {port}: the server has to be told where to listen")
        return command

    def open(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Engine":
        """Prepare; it starts once it runs, or is loaded."""
        from src.serve.proxied import Proxied

        launcher = self.launcher(trained, name=name, max_new_tokens=max_new_tokens, log=log)
        return Proxied(launcher, self, name=self.model or name, paths=self.paths)

    def launcher(self, trained: "Trained | None", *, name: str, max_new_tokens: int | None, log: Path) -> "Launcher":
        """What keeps the process running."""
        from src.llm.launcher import Launcher, free_port

        del trained, name, max_new_tokens  # the command says all of that
        port = free_port()
        command = [_found(self.command[0]), *(word.replace(PORT, str(port)) for word in self.command[1:])]
        return Launcher(command, port=port, log=log, health=self.health, startup_timeout=self.startup_timeout, restarts=self.restarts)


def _found(program: str) -> str:
    """Where a program is: beside this Python (`mlx` is there, on PATH or not), else as a shell finds it."""
    return shutil.which(program, path=str(Path(sys.executable).parent)) or program
