"""What stands between clients and models: the models, and the parts that a call passes on its way to one of them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from src.serve.engine import Engine
from src.serve.gateway.cache import Answers
from src.serve.gateway.decision import Decision
from src.serve.gateway.model import Model
from src.serve.request import Call, RequestError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from src.serve.routing.room import Need
    from src.serve.routing.shadows import Counts


class Router(Protocol):
    """Chooses models for a call."""

    async def decide(self, call: Call) -> Decision:
        """Choose; raises a RequestError (404) where there is nothing of that name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names that clients may ask for besides those of the models."""

    def add(self, name: str) -> None:
        """A model of this name came."""

    def remove(self, name: str) -> None:
        """The model of this name went."""


class Remembers(Protocol):
    """Puts what is remembered into a call."""

    @property
    def state(self) -> str:
        """`ready`, or what it is instead."""

    async def run(self) -> None:
        """Keep what it needs, as long as the server runs."""

    def routes(self, max_body: int) -> "APIRouter":
        """What clients may ask of it besides."""

    async def remember(self, call: Call, model: Model) -> tuple[Call, dict[str, str]]:
        """The call with quoted passages, and headers that say which; never raises, however ill the store is."""


class Fits(Protocol):
    """Keeps a call within a model's context."""

    async def fit(self, call: Call, model: Model) -> tuple[Call, dict[str, str]]:
        """The call, trimmed where that is allowed, and headers that say so; raises UnavailableError (400) where it is too long."""


class Holds(Protocol):
    """Keeps models in memory while they are asked."""

    @property
    def whole(self) -> "Need":
        """What they may take together."""

    async def run(self) -> None:
        """Find out what is loaded already."""

    def hold(self, name: str) -> AbstractAsyncContextManager[None]:
        """Have the model loaded in the block; raises UnavailableError where there is no room in time."""

    def is_loaded(self, name: str) -> bool:
        """Whether a request for it passes at once."""

    def status(self) -> list[dict[str, Any]]:
        """Each model with its state and its memory."""

    async def close(self) -> None:
        """End what is under way."""


class Copies(Protocol):
    """Sends copies of calls to models whose answers nobody sees."""

    @property
    def counts(self) -> "Mapping[str, Counts]":
        """What became of them, by model."""

    def send(self, gateway: "Gateway", name: str, call: Call) -> None:
        """Send one, if there is room; never waits, never raises."""

    async def close(self) -> None:
        """End what is under way."""


class Runs(Protocol):
    """Works beside the requests."""

    async def run(self) -> None:
        """Work until it is cancelled."""


class Direct:
    """The router without routes: who names a model gets it."""

    names: tuple[str, ...] = ()

    def __init__(self, models: Iterable[str]) -> None:
        self._decisions = {name: Decision((name,)) for name in models}

    async def decide(self, call: Call) -> Decision:
        """Choose the model that is named."""
        if found := self._decisions.get(call.model):
            return found
        raise unknown(call.model, self._decisions)

    def add(self, name: str) -> None:
        """A model of this name came."""
        self._decisions = {**self._decisions, name: Decision((name,))}

    def remove(self, name: str) -> None:
        """The model of this name went."""
        self._decisions = {each: decision for each, decision in self._decisions.items() if each != name}


@dataclass(slots=True)
class Gateway:
    """The models and what stands before them; a part that is None is passed by."""

    models: dict[str, Model]
    router: Router = field(default=None)  # type: ignore[assignment]
    memory: Remembers | None = None
    budget: Fits | None = None
    residency: Holds | None = None
    shadows: Copies | None = None
    cache: Answers | None = None
    embedders: Sequence[Runs] = ()
    """What makes vectors, for the router and for memory."""
    gone: dict[str, Model] = field(default_factory=dict)
    """Models that were taken away while the server ran: what they counted is still told."""

    def __post_init__(self) -> None:
        self.router = self.router or Direct(self.models)

    def add(self, model: Model) -> None:
        """Take in a model while the server runs; who goes through the models meanwhile goes on through the old ones."""
        if before := self.gone.pop(model.name, None):
            model.tally = before.tally
        self.models = {**self.models, model.name: model}
        self.router.add(model.name)
        if self.cache is not None:
            self.cache.forget()

    def remove(self, name: str) -> None:
        """Take a model away: who asks for it now is told that there is none, and answers under way go on."""
        self.router.remove(name)
        self.gone[name] = self.models[name]
        self.models = {each: model for each, model in self.models.items() if each != name}

    @classmethod
    def of(cls, engine: Engine, *, name: str, system: str | None = None, longest: int = 1024) -> "Gateway":
        """The gateway of one model alone."""
        return cls({name: Model(name, engine, system=system, longest=longest)})

    @property
    def state(self) -> str:
        """`ready`, `degraded` where some models are not, or what the first one is where none is."""
        states = [model.state for model in self.models.values()]
        return "degraded" if "ready" in states and set(states) != {"ready"} else states[0]

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may ask for."""
        return (*self.router.names, *self.models)

    @property
    def paths(self) -> frozenset[str]:
        """What is answered by any of the models."""
        return frozenset().union(*(model.engine.paths for model in self.models.values()))


def unknown(name: str, there: Iterable[str]) -> RequestError:
    """The refusal of a name that nothing bears."""
    known = ", ".join(map(repr, there))
    return RequestError(404, f"there is no model {name[:80]!r} here, only {known}", code="model_not_found", param="model")
