"""Sends copies of requests to models whose answers nobody sees: never in the way of a request, never more than a few at once."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from src.serve.gateway.gateway import Gateway
from src.serve.request import Call, RequestError
from src.serve.routing.settings import Shadows

LOG = logging.getLogger("mlx.routing")


@dataclass
class Counts:
    """What became of the copies."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    left_out: int = 0
    """Not sent: too many were under way, or their model was not loaded, or down."""
    seconds: float = 0.0
    """To the last byte, summed over what was answered or failed."""


class ShadowTraffic:
    """Sends copies.

    Args:
        settings: How many at once, and how long each may take.
    """

    def __init__(self, settings: Shadows) -> None:
        self.settings = settings
        self.counts: dict[str, Counts] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, gateway: Gateway, name: str, call: Call) -> None:
        """Send a copy to a model, if there is room for it and nothing has to be loaded."""
        counts = self.counts.setdefault(name, Counts())
        model = gateway.models[name]
        loaded = gateway.residency is None or gateway.residency.is_loaded(model.within or name)
        if not loaded or model.down or len(self._tasks) >= self.settings.most or call.path not in model.engine.paths:
            counts.left_out += 1
            return
        counts.sent += 1
        task = asyncio.ensure_future(self._copied(gateway, name, call, counts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _copied(self, gateway: Gateway, name: str, call: Call, counts: Counts) -> None:
        model, start = gateway.models[name], time.perf_counter()
        try:
            async with asyncio.timeout(self.settings.timeout), AsyncExitStack() as holding:
                if gateway.residency:
                    await holding.enter_async_context(gateway.residency.hold(model.within or name))
                copy = call.with_system(model.system)
                if gateway.budget:
                    copy, _ = await gateway.budget.fit(copy, model)
                reply = await model.engine.ask(copy)
                holding.push_async_callback(reply.close)
                if not isinstance(reply.body, bytes):
                    async for _ in reply.body:
                        pass
                counts.answered += reply.status == 200
                counts.failed += reply.status != 200
        except (RequestError, TimeoutError, OSError) as error:
            counts.failed += 1
            LOG.debug("a copy for %s failed: %s", name, type(error).__name__)
        except Exception:
            counts.failed += 1
            LOG.exception("a copy for %s failed", name)
        finally:
            counts.seconds += time.perf_counter() - start
