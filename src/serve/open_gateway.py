"""Makes the gateway of a project from its settings: every model opened, none of them loaded yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.errors import MlxError
from src.llm.launcher import Launcher
from src.serve.beside.keeper import Keeper
from src.serve.beside.keeping import Keeps
from src.serve.embedding.keepers import embedders
from src.serve.engine import Engine
from src.serve.engines.adapter_model import adapter_model
from src.serve.engines.classifier import ClassifierEngine
from src.serve.engines.part import ModelPart
from src.serve.engines.process import ProcessEngine
from src.serve.engines.transformers import TransformersEngine
from src.serve.engines.vllm import VllmEngine
from src.serve.engines.watched import Watched
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.proxied import PATHS
from src.serve.routing.budget import Budget
from src.serve.routing.opened import open_examples, open_residency, open_routes

if TYPE_CHECKING:
    from src.models.trained import Trained
    from src.serve import ServeConfig
    from src.serve.memory.remember import Remember


def open_gateway(config: "ServeConfig", trained: "Trained | None", *, project: str, output: Path, beside: Mapping[str, str]) -> Gateway:
    """Open the project's own model, if it has one, all others, and the memory; its socket will lie in `output`.

    Args:
        config: The settings.
        trained: What was trained, where it is served.
        project: Its name.
        output: The folder of the server.
        beside: Addresses of engines that another process keeps, by the name of their model.

    Raises:
        MlxError: Where one of them cannot be had: no key, no training, no program.
    """
    logs = Path("log") / project
    models: dict[str, Model] = {}
    if config.engine and trained:
        name, longest = config.model_name or project, config.engine.max_new_tokens or config.max_new_tokens
        if name in (*config.models, *config.adapters):
            raise MlxError(f"two models are called {name!r}: the trained one and one of serve.models or adapters", "set serve.model_name")
        if name in beside:
            engine: Engine = Watched(beside[name], config.engine, name=name)  # type: ignore[arg-type]
        else:
            engine = config.engine.open(trained, name=name, max_new_tokens=longest, log=logs / f"{config.engine.type}.log")
        models |= _models(name, engine, config.engine, trained, longest)
    for name, part in config.models.items():
        if name in beside:
            called, paths = (part.model or name, part.paths) if isinstance(part, ProcessEngine) else (name, PATHS)
            engine = Watched(beside[name], part, name=called, paths=paths)  # type: ignore[arg-type]
        else:
            engine = part.open(None, name=name, max_new_tokens=part.max_new_tokens, log=_log(logs, name))
        longest = part.max_new_tokens or config.max_new_tokens
        models |= _models(name, engine, part, _training(part), longest)
    examples = open_examples(config.routes, models) if config.routes else {}
    embedding = embedders(config, examples, output=output, logs=logs)
    memory = _memory(config, project, output, logs, embedding)
    gateway = Gateway(models, memory=memory, residency=open_residency(config, models), embedders=tuple(embedding.values()))
    if any(model.part.context for model in models.values()):
        gateway.budget = Budget()
    gateway.cache = config.cache.open() if config.cache else None
    if config.routes:
        open_routes(gateway, config.routes, embedding[config.routes.classifier.embedder.key] if examples else None)
    return gateway


def _models(name: str, engine: Engine, part: ModelPart, trained: "Trained | None", longest: int) -> dict[str, Model]:
    """A model, and the adapters that its process is told of when it starts."""
    folder, system = (trained.folder, trained.system) if trained else (None, None)
    own = Model(name, engine, part, system, longest, tokenizer=_tokenizer(part, trained), folder=folder)
    named = part.adapters if isinstance(part, VllmEngine) else {}
    return {name: own} | {other: adapter_model(own, other, where, told=True) for other, where in named.items()}


def _training(part: ModelPart) -> "Trained | None":
    """The training behind a further model, where it is one of ours."""
    from src.models.trained import Trained

    return Trained.of(part.model) if isinstance(part, VllmEngine | TransformersEngine) and part.model else None


def _tokenizer(part: ModelPart, trained: "Trained | None") -> Path | None:
    """Where the model's own tokenizer lies, as far as that is known and on this machine."""
    found = part.tokenizer or (Path(trained.tokenizer) if trained else None)
    return found if found and (part.tokenizer or (found / "tokenizer.json").exists()) else None


def kept(config: "ServeConfig", trained: "Trained | None", *, project: str) -> dict[str, Launcher]:
    """The engines that are processes of their own, by the name of their model: several workers share them.

    Raises:
        MlxError: Where one of them cannot be had.
    """
    logs, found = Path("log") / project, {}
    if trained and isinstance(config.engine, VllmEngine):
        longest = config.engine.max_new_tokens or config.max_new_tokens
        name = config.model_name or project
        found[name] = config.engine.launcher(trained, name=name, max_new_tokens=longest, log=logs / "vllm.log")
    for name, part in config.models.items():
        if isinstance(part, VllmEngine | ProcessEngine):
            found[name] = part.launcher(None, name=name, max_new_tokens=part.max_new_tokens, log=_log(logs, name))
    return found


def kept_beside(config: "ServeConfig", trained: "Trained | None", *, project: str, output: Path, beside: Mapping[str, str]) -> list[Keeps]:
    """What keeps classifiers, embedders and memory: run before the workers, it has them, and these only watch."""
    gateway = open_gateway(config, trained, project=project, output=output, beside=beside)
    classifiers = [model.engine for model in gateway.models.values() if isinstance(model.part, ClassifierEngine)]
    return [*classifiers, *gateway.embedders, *([gateway.memory] if gateway.memory else [])]


def _log(logs: Path, name: str) -> Path:
    return logs / f"{name.replace('/', '-').replace(':', '-')}.log"


def _memory(config: "ServeConfig", project: str, output: Path, logs: Path, embedding: Mapping[str, Keeper]) -> "Remember | None":
    from src.serve.memory.link import SOCKET, MemoryLink
    from src.serve.memory.remember import Remember

    memory = config.memory
    if memory is None:
        return None
    if not memory.folder.is_dir():
        raise MlxError(
            f"serve.memory.folder: there is no folder {memory.folder}", f"mkdir -p {memory.folder}, and put markdown files there"
        )
    embedder = embedding[memory.embedder.key].line.path
    return Remember(MemoryLink(memory, project, path=output / SOCKET, log=logs / "memory.log", embedder=embedder))
