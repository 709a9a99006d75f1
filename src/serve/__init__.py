"""Serve the trained model over an OpenAI-compatible API."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, model_validator

from src.core.errors import MlxError
from src.core.run import Run
from src.core.stage import StageConfig, folder, stage
from src.serve.engine import EngineChoice, TransformersEngine

__all__ = ["ServeConfig", "serve"]


class ServeConfig(StageConfig):
    """Serve the trained model over an OpenAI-compatible API."""

    engine: EngineChoice = TransformersEngine()
    """What answers: `transformers`, in the server's process, or `vllm`, a process beside it."""
    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs allow_remote."""
    allow_remote: bool = False
    """Whether others may reach the server, which asks nobody for a password."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    model_name: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[\w.:/-]+$")
    """What clients call the model; the project's name if unset."""
    max_body_mb: float = Field(default=2.0, gt=0, le=1024)
    """Largest request, in MB."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """Longest answer in tokens, whatever a request asks for."""

    @model_validator(mode="after")
    def _at_home(self) -> "ServeConfig":
        if not self.allow_remote and not loopback(self.host):
            raise ValueError(
                f"host {self.host!r} lets other machines reach a server without a password; set allow_remote: true if that is meant"
            )
        return self


def loopback(host: str) -> bool:
    """Whether `host` is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@stage(reads={"model": ("train",)}, service=True)
def serve(config: ServeConfig, run: Run) -> None:
    """Serve the trained model until stopped: /v1/chat/completions, /v1/models, /health."""
    from src.core.secrets import redact
    from src.models.trained import Trained
    from src.serve.app import application
    from src.serve.server import Server, announced, failed_report, lineage, listen, url

    model = run.input("model")
    trained = Trained.of(model.path)
    if report := failed_report(folder(run.name, "eval"), model.fingerprint):
        if not run.fresh:
            raise MlxError(f"this model failed its gates: see {report}", "train a better one, or serve it with --force")
        run.log.warning("this model failed its evaluation: see %s", report)
    name = config.model_name or run.name
    log = Path("log") / run.name / "vllm.log"
    engine = config.engine.open(trained, name=name, max_new_tokens=config.max_new_tokens, log=log)
    listening = listen(config.host, config.port)
    app = application(
        engine,
        name=name,
        system=trained.system,
        max_body=int(config.max_body_mb * 1e6),
        hosts=None if config.allow_remote else frozenset({"localhost", "127.0.0.1", "[::1]", config.host}),
        failed=lambda error: server.fail(error),
    )
    server = Server(app)
    with announced(run.output, url(listening), name, lineage(trained.folder)):
        run.log.info("%s at %s/v1 (%s); Ctrl-C ends it", name, url(listening), config.engine.type)
        server.run_on(listening)
    if server.failure:
        run.log.error("%s", redact(str(server.failure)))
        raise server.failure
    run.log.info("stopped")
