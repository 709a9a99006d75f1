"""Serve the trained model over an OpenAI-compatible API."""

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from src.core.errors import MlxError
from src.core.run import Run
from src.core.stage import StageConfig, folder, stage
from src.serve.access.conversations import LogConversations
from src.serve.access.settings import Access
from src.serve.engines import EngineChoice, ModelChoice
from src.serve.engines.part import Name
from src.serve.engines.transformers import TransformersEngine
from src.serve.gateway.cache import Cache
from src.serve.memory import Memory
from src.serve.routing.room import Need, lacking
from src.serve.routing.settings import Budgets, Routes

if TYPE_CHECKING:
    from socket import socket

    from src.models.trained import Trained

__all__ = ["ServeConfig", "serve"]


class ServeConfig(StageConfig):
    """Serve the trained model over an OpenAI-compatible API."""

    engine: EngineChoice | None = TransformersEngine()
    """What answers for the trained model: `transformers`, in the server's process, or `vllm` beside it; null where none is trained."""
    models: dict[Name, ModelChoice] = Field(default_factory=dict)
    """Further models, by the name that clients ask for."""
    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own needs `access`, or allow_remote."""
    allow_remote: bool = False
    """Whether others may reach a server without `access`, which asks nobody for a password."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies before the server, whose X-Forwarded-For tells a client's address; nobody else's is believed."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer, on one port. Limits are exact over several only where they are counted in Redis."""
    model_name: Name | None = None
    """What clients call the trained model; the project's name if unset."""
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
    routes: Routes | None = None
    """One model name whose requests are sent to the model that suits them; without it models are asked by their own names."""
    residency: Budgets | None = None
    """Memory that models may take together; those that say vram_gb or ram_gb are loaded and unloaded to keep to it."""
    memory: Memory | None = None
    """Files of markdown that answers draw on; none if unset."""
    cache: Cache | None = None
    """Keep answers that are the same each time, for who asked; none are kept if unset."""
    page: bool = True
    """Whether there is a page at /ui, to talk, to classify, and to see how the models do."""
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

    @model_validator(mode="after")
    def _answers(self) -> "ServeConfig":
        if self.engine is None and not self.models:
            raise ValueError("nothing answers: set serve.engine, or serve.models")
        names = [*([self.model_name] if self.model_name else []), *self.models, *self.adapters]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two models are called {twice!r}: of serve.model_name, serve.models and the adapters of vllm engines")
        for name, part in self.models.items():
            if part.type in ("transformers", "vllm", "classifier") and not part.model:
                raise ValueError(f"models.{name} has no `model`: set it to the folder of a training, as checkpoint/NAME/train")
        return self

    @model_validator(mode="after")
    def _several(self) -> "ServeConfig":
        if self.workers == 1:
            return self
        for part in (self.engine, *self.models.values()):
            if part and part.type == "transformers":
                raise ValueError("each of several workers would load the transformers model: set workers: 1, or an engine of type vllm")
        if self.access and self.access.limits.type == "memory" and any(role.limited for role in self.access.roles.values()):
            raise ValueError(
                f"{self.workers} workers would each count by themselves what a key may have {self.workers} times over: "
                "set serve.access.limits: {type: redis}, or workers: 1"
            )
        return self

    @model_validator(mode="after")
    def _routed(self) -> "ServeConfig":
        own = [self.model_name] if self.engine and self.model_name else []
        if self.routes and (own or not self.engine):  # else the trained model has the project's name: checked once that is known
            self.routes.check((*self.models, *own, *self.adapters))
        if self.residency and self.workers > 1:
            raise ValueError("residency: what is loaded has one owner: set workers: 1, or leave residency out and let the engines decide")
        room = Need(self.residency.vram_gb, self.residency.ram_gb) if self.residency else None
        for name, part in self.models.items():
            if room and (missing := lacking(Need(part.vram_gb, part.ram_gb), room)):
                raise ValueError(f"models.{name} needs {missing} alone: give it less (fewer layers on the GPU), or raise residency")
        return self

    @model_validator(mode="after")
    def _sleeps(self) -> "ServeConfig":
        parts = [part for part in (self.engine, *self.models.values()) if part and part.type == "vllm"]
        if not self.residency and any(part.when_unloaded == "sleep" for part in parts):
            raise ValueError("when_unloaded: nothing is unloaded without serve.residency")
        if not self.access and any(part.load_adapters for part in parts):
            raise ValueError("load_adapters: there is no /admin without a door; set serve.access, and a role with /admin/*")
        return self

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of adapters beside the models whose process they are part of."""
        return tuple(name for part in (self.engine, *self.models.values()) if part and part.type == "vllm" for name in part.adapters)

    def wants(self, role: str) -> bool:
        """The trained model is read only where it is served."""
        return self.engine is not None


def loopback(host: str) -> bool:
    """Whether `host` is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@stage(reads={"model": ("train",)}, service=True)
def serve(config: ServeConfig, run: Run) -> None:
    """Serve the trained model, and others beside it, until stopped: OpenAI's API under /v1, and /health."""
    from src.core.secrets import redact
    from src.serve.access.json_log import json_lines
    from src.serve.control.steering import Steering
    from src.serve.server import announced, lineage, listen, url

    trained = passed(run, config) if config.engine else None
    if not config.access and not loopback(config.host):
        run.log.warning("other machines reach this server, and it asks nobody for a password (serve.access)")
    made = lineage(trained.folder) if trained else {}
    names = ([config.model_name or run.name] if trained else []) + [*config.models, *config.adapters]
    server = None
    if config.workers == 1:
        from src.serve.open_server import open_server

        server = open_server(config, run, trained)
    listening = listen(config.host, config.port)
    Steering.forget(run.output)
    with announced(run.output, url(listening), names[0], made), json_lines(config.log_format == "json"):
        run.log.info("%s at %s/v1; Ctrl-C ends it", ", ".join(names), url(listening))
        if server:
            server.run_on(listening)
        else:
            _workers(config, run, trained, listening)
    if server and server.failure:
        run.log.error("%s", redact(str(server.failure)))
        raise server.failure
    run.log.info("stopped")


def _workers(config: ServeConfig, run: Run, trained: "Trained | None", listening: "socket") -> None:
    """Serve by several processes; engines that are processes themselves, and all else beside them, are kept here, once for all of them."""
    from src.serve.access.open_guard import check
    from src.serve.beside.keeping import keeping
    from src.serve.control.shared_counts import share_counts
    from src.serve.open_gateway import kept, kept_beside
    from src.serve.workers import Workers

    with listening:
        if config.access:
            check(config.access, run.output)
        share_counts(run.output / "counts")
        launchers = kept(config, trained, project=run.name)
        told: dict[str, Any] = {
            "project": run.arguments,
            "log": (Path("log") / run.name / "serve.log").as_posix(),
            "beside": {name: launcher.url for name, launcher in launchers.items()},
        }
        with keeping(kept_beside(config, trained, project=run.name, output=run.output, beside=told["beside"])):
            Workers(config.workers, told, listening, list(launchers.values())).run()


def passed(run: Run, config: ServeConfig) -> "Trained":
    """The trained model, as long as it has not failed its evaluation, or somebody insists.

    Raises:
        MlxError: Where it has.
    """
    from src.models.classifier import Classifier
    from src.models.trained import Trained
    from src.serve.server import failed_report

    model = run.input("model")
    classifies = config.engine is not None and config.engine.type == "classifier"
    trained = (Classifier if classifies else Trained).of(model.path)
    if report := failed_report(folder(run.name, "eval"), model.fingerprint):
        if not run.fresh:
            raise MlxError(f"this model failed its gates: see {report}", "train a better one, or serve it with --force")
        run.log.warning("this model failed its evaluation: see %s", report)
    return trained
