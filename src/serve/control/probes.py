"""Asks servers far away whether they are there, so that nobody's request has to find out that one is not."""

import asyncio
import logging
import random
from typing import Protocol, runtime_checkable

from src.serve.engines.part import FarPart
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

LOG = logging.getLogger("mlx.serve")
DOUBT = 1.0
"""Seconds after which a server is asked again that was not there: one failure may be an accident, two are none."""
AGAIN = 5.0
"""Seconds between two looks at a server that is down, at most."""
SILENT = "is silent"


@runtime_checkable
class Probed(Protocol):
    """An engine on a server far away."""

    async def probe(self) -> str | None:
        """What speaks against its being there, or nothing; a TimeoutError where it is silent."""


class Probes:
    """Keeps each model's `down`; whoever answered since the last look is not asked."""

    def __init__(self, gateway: Gateway, chance: random.Random | None = None) -> None:
        """Prepare; `chance` keeps the probes of many workers apart."""
        self._models = [
            (model, model.engine, model.part.probe)
            for model in gateway.models.values()
            if isinstance(model.part, FarPart) and model.part.probe and isinstance(model.engine, Probed)
        ]
        self._chance = chance or random.Random()

    async def run(self) -> None:
        """Look as long as the server runs."""
        await asyncio.gather(*(self._watch(*each) for each in self._models))

    async def _watch(self, model: Model, engine: Probed, every: float) -> None:
        heard, failed = 0, 0
        while True:
            if model.tally.answered == heard:
                fault = await self._fault(model, engine)
                failed = failed + 1 if fault else 0
                if not fault or failed > 1:
                    _tell(model, fault)
            else:
                failed = 0
                _tell(model, "")
            heard = model.tally.answered
            pause = min(DOUBT if failed == 1 else AGAIN, every) if failed else every
            await asyncio.sleep(pause * self._chance.uniform(0.8, 1.2))

    async def _fault(self, model: Model, engine: Probed) -> str:
        """What is found against a server; silence counts against none that is at work for us."""
        before = model.tally.answered
        try:
            fault = await engine.probe()
        except TimeoutError:
            fault = None if model.tally.inside else SILENT
        except Exception:
            LOG.exception("a probe of %s failed", model.name)
            fault = None
        return fault if fault and model.tally.answered == before else ""


def _tell(model: Model, fault: str) -> None:
    if fault and not model.down:
        LOG.warning("model %s is down: its server %s", model.name, fault)
    elif model.down and not fault:
        LOG.warning("model %s is there again", model.name)
    model.down = fault
