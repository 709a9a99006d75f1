"""Adapters that come and go while the server runs: checked, told to vLLM, and noted where all workers follow."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from src.core.errors import MlxError
from src.core.secrets import redact
from src.serve.control.lineage import made_from
from src.serve.control.train_output import train_output
from src.serve.engines.adapter import Adapter, Process
from src.serve.engines.adapter_model import adapter_model
from src.serve.engines.fits_base import fits_base
from src.serve.engines.vllm import VllmEngine
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.request import RequestError

if TYPE_CHECKING:
    from src.serve.control.steering import Steering

LOG = logging.getLogger("mlx.serve")
TICK = 1.0  # seconds between two looks at adapters that went
MOST_TURNS = 1000
"""Times that a name is told to vLLM in other words, before the first ones come again."""
Entry = dict[str, Any]
"""What the steering file says of a name: `of` (the model whose process it is part of), `folder` (None where it went), `turn`."""


class Adapters:
    """Loads and unloads adapters."""

    def __init__(self, gateway: Gateway, lineage: dict[str, Any], led_to: Collection[str] = ()) -> None:
        """Begin with those that the gateway has.

        Args:
            gateway: Its models change.
            lineage: What each model was made from; those that come are noted.
            led_to: Names that routes lead to, which have to stay.
        """
        self.gateway = gateway
        self.lineage = lineage
        self.steering: Steering
        """Where it is noted what came and went; set by who makes both."""
        self._led_to = led_to
        self._followed: dict[str, Entry] = {}
        self._leaving: list[Adapter] = []
        self._one = asyncio.Lock()

    @property
    def all(self) -> dict[str, Model]:
        """Those that are there."""
        return {name: model for name, model in self.gateway.models.items() if isinstance(model.engine, Adapter)}

    async def load(self, name: str, folder: str, of: str | None = None) -> Model:
        """Have an adapter answer to `name`.

        Args:
            name: What clients will call it.
            folder: Its training, below `checkpoint`.
            of: The model in whose process it goes; the only one that takes any if None.

        Raises:
            RequestError: 400, 404 or 409 where that cannot be, 502 or 503 where vLLM does not do it.
        """
        async with self._one, AsyncExitStack() as holding:
            process = self._process(of)
            path = train_output(folder)
            self._free(name, path, process)
            try:
                await asyncio.to_thread(self._check, name, path, process)
            except MlxError as error:
                raise RequestError(409, redact(str(error)), code="adapter_refused", param="folder") from None
            turn = (self.steering.adapters.get(name, {}).get("turn", 0) + 1) % MOST_TURNS
            await self._told(adapter_model(process, name, path, turn=turn), process, holding)
            self.steering.adapt(name, {"of": process.name, "folder": path.as_posix(), "turn": turn})
            await self.steering.followed()  # whichever worker is asked next
            return self.gateway.models[name]

    async def unload(self, name: str) -> Model:
        """Have an adapter go; answers under way go on.

        Raises:
            RequestError: 404 or 409 where it cannot go, 502 where vLLM keeps it: nobody can ask for it all the same.
        """
        async with self._one:
            model = self.all.get(name)
            if model is None:
                raise RequestError(404, f"there is no adapter {name!r} here, only {', '.join(self.all) or 'none'}", code="not_found")
            process = self.gateway.models[str(model.within)]
            self._allowed(process)
            if name in self._led_to:
                raise RequestError(409, f"a route leads to {name!r}: take it out of serve.routes first", code="routed", param="name")
            turn = self.steering.adapters.get(name, {}).get("turn", 0)
            self.steering.adapt(name, {"of": process.name, "folder": None, "turn": turn})
            await self.steering.followed()  # before vLLM forgets it, so that nobody asks in vain
            if process.engine.state == "ready" and cast(Process, process.engine).life:
                await cast(Adapter, model.engine).unload()
            return model

    def follow(self, told: Mapping[str, Entry]) -> None:
        """Take in and take away what the steering file tells."""
        for name, entry in told.items():
            if entry == self._followed.get(name):
                continue
            self._followed[name] = entry
            if name in self.all:
                self._go(name)
            process = self.gateway.models.get(entry["of"])
            if entry["folder"] and process and name not in self.gateway.models:
                self._come(name, entry, process)

    async def run(self) -> None:
        """Close the connections of those that went, once their last answer has ended; of all at the end."""
        try:
            while True:
                await asyncio.sleep(TICK)
                for engine in [each for each in self._leaving if not each.upstream.inflight]:
                    self._leaving.remove(engine)
                    await engine.stop()
        finally:
            for engine in (*self._leaving, *(cast(Adapter, model.engine) for model in self.all.values())):
                await engine.stop()

    def _come(self, name: str, entry: Entry, process: Model) -> None:
        folder = Path(entry["folder"])
        try:
            self.gateway.add(adapter_model(process, name, folder, turn=entry["turn"]))
        except MlxError as error:
            LOG.error("adapter %s: %s", name, redact(str(error)))
            return
        self.lineage[name] = made_from(folder)
        LOG.warning("adapter %s was loaded", name)

    def _go(self, name: str) -> None:
        engine = cast(Adapter, self.all[name].engine)
        engine.gone = True
        self._leaving.append(engine)
        self.gateway.remove(name)
        self.lineage.pop(name, None)
        LOG.warning("adapter %s was unloaded", name)

    def _process(self, of: str | None) -> Model:
        taking = [model for model in self.gateway.models.values() if isinstance(model.part, VllmEngine) and not model.within]
        if of is None and len(taking) == 1:
            of = taking[0].name
        found = next((model for model in taking if model.name == of), None)
        if found is None:
            names = ", ".join(model.name for model in taking) or "none"
            raise RequestError(404, f"of: has to be a model whose engine is vllm: {names}", code="model_not_found", param="of")
        self._allowed(found)
        return found

    def _allowed(self, process: Model) -> None:
        if not (isinstance(process.part, VllmEngine) and process.part.load_adapters):
            raise RequestError(409, f"the engine of {process.name!r} is not started for this: set its load_adapters", code="not_enabled")

    def _free(self, name: str, path: Path, process: Model) -> None:
        if name in self.gateway.names:
            raise RequestError(409, f"there is a model {name!r} already: unload it first", code="model_exists", param="name")
        named = process.part.adapters.get(name) if isinstance(process.part, VllmEngine) else None
        if named and named.resolve() != path.resolve():
            raise RequestError(409, f"the settings mean another folder by {name!r}", code="model_exists", param="name")

    def _check(self, name: str, path: Path, process: Model) -> None:
        from src.models.trained import Trained

        assert isinstance(process.part, VllmEngine) and process.folder  # noqa: S101 (for the type checker)
        served = Trained.of(process.folder)
        fits_base(name, path, served, rank=process.part.rank(served))

    async def _told(self, model: Model, process: Model, holding: AsyncExitStack) -> None:
        """Tell vLLM, where it runs; else it is told once it is asked."""
        engine = model.engine
        assert isinstance(engine, Adapter)  # noqa: S101 (for the type checker)
        holding.push_async_callback(engine.stop)
        if residency := self.gateway.residency:
            if not residency.is_loaded(process.name):
                return
            await holding.enter_async_context(residency.hold(process.name))
        engine.process.check()
        if engine.process.life:
            await engine.load()
