"""Serve the trained model over an OpenAI-compatible API."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from src.core.errors import MlxError
from src.core.run import Run
from src.core.stage import StageConfig, folder, stage
from src.serve.access.conversations import LogConversations
from src.serve.access.settings import Access
from src.serve.engine import EngineChoice, TransformersEngine

__all__ = ["ServeConfig", "serve"]


class ServeConfig(StageConfig):
    """Serve the trained model over an OpenAI-compatible API."""

    engine: EngineChoice = TransformersEngine()
    """What answers: `transformers`, in the server's process, or `vllm`, a process beside it."""
    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs `access`, or allow_remote."""
    allow_remote: bool = False
    """Whether others may reach a server without `access`, which asks nobody for a password."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    model_name: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[\w.:/-]+$")
    """What clients call the model; the project's name if unset."""
    max_body_mb: float = Field(default=2.0, gt=0, le=1024)
    """Largest request, in MB."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """Longest answer in tokens, whatever a request asks for."""
    max_header_kb: float = Field(default=16, gt=0, le=1024)
    """Largest headers of a request, in kB."""
    body_timeout: float = Field(default=30, gt=0)
    """Seconds that a client may take to send a request."""
    request_timeout: float = Field(default=600, gt=0)
    """Seconds that an answer may take, to its last byte."""
    access: Access | None = None
    """Who may use the server, how much, and the log of it; everybody who reaches it if unset."""
    log_format: Literal["text", "json"] = "text"
    """How the log is written; json has a line an event, with the request's id. Neither holds keys, or a word that was said."""
    log_conversations: LogConversations | None = None
    """Keep what is said; nothing is kept if unset."""

    @model_validator(mode="after")
    def _at_home(self) -> "ServeConfig":
        if not self.allow_remote and not self.access and not loopback(self.host):
            raise ValueError(
                f"host {self.host!r} lets other machines reach a server without a password; set serve.access, "
                "or allow_remote: true if that is meant"
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
    from src.serve.access.conversations import Conversations
    from src.serve.access.json_log import json_lines
    from src.serve.access.open_guard import open_guard
    from src.serve.app import application
    from src.serve.route import Patience
    from src.serve.server import Server, announced, failed_report, lineage, listen, url

    model = run.input("model")
    trained = Trained.of(model.path)
    if report := failed_report(folder(run.name, "eval"), model.fingerprint):
        if not run.fresh:
            raise MlxError(f"this model failed its gates: see {report}", "train a better one, or serve it with --force")
        run.log.warning("this model failed its evaluation: see %s", report)
    name = config.model_name or run.name
    log = Path("log") / run.name / "vllm.log"
    if not config.access and not loopback(config.host):
        run.log.warning("other machines reach this server, and it asks nobody for a password (serve.access)")
    guard = open_guard(config.access, run.output) if config.access else None
    asked = config.log_conversations
    conversations = Conversations(asked, run.output / "conversations") if asked and asked.consent else None
    engine = config.engine.open(trained, name=name, max_new_tokens=config.max_new_tokens, log=log)
    listening = listen(config.host, config.port)
    app = application(
        engine,
        name=name,
        system=trained.system,
        max_body=int(config.max_body_mb * 1e6),
        hosts=None if config.allow_remote or not loopback(config.host) else frozenset({"localhost", "127.0.0.1", "[::1]", config.host}),
        failed=lambda error: server.fail(error),
        guard=guard,
        max_headers=int(config.max_header_kb * 1e3),
        longest=config.max_new_tokens,
        patience=Patience(config.body_timeout, config.request_timeout),
        conversations=conversations,
    )
    server = Server(app)
    with announced(run.output, url(listening), name, lineage(trained.folder)), json_lines(config.log_format == "json"):
        run.log.info("%s at %s/v1 (%s); Ctrl-C ends it", name, url(listening), config.engine.type)
        server.run_on(listening)
    if server.failure:
        run.log.error("%s", redact(str(server.failure)))
        raise server.failure
    run.log.info("stopped")
