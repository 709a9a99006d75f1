"""The control plane of one server process: its routes, and what it does in the background."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from src.serve.control.adapter_routes import adapter_routes
from src.serve.control.adapters import Adapters
from src.serve.control.api import turning, unsound, watching
from src.serve.control.metrics import Metrics
from src.serve.control.probes import Probes
from src.serve.control.steering import Steering
from src.serve.gateway.gateway import Gateway

if TYPE_CHECKING:
    from src.serve import ServeConfig
    from src.serve.access.door import Guard

OPENAPI = "/admin/openapi.json"


class Control:
    """Health, metrics and lineage for everybody whose role may; administration only where there is a door."""

    def __init__(
        self,
        gateway: Gateway,
        guard: "Guard | None",
        *,
        folder: Path,
        config: "ServeConfig",
        reread: Callable[[], "ServeConfig"],
        lineage: dict[str, Any],
    ) -> None:
        """Prepare; see `Steering` and `watching` for the arguments."""
        self.gateway = gateway
        self.guard = guard
        self.lineage = lineage
        self.metrics = Metrics(gateway)
        self.probes = Probes(gateway)
        led_to = frozenset(name for name, _ in config.routes.mentioned()) if config and config.routes else frozenset()
        self.adapters = Adapters(gateway, lineage, led_to)
        self.steering = self.adapters.steering = Steering(folder, gateway, guard, config, reread, self.adapters.follow)

    def join(self, api: FastAPI) -> None:
        """Add the routes to the server's API."""
        api.include_router(watching(self.gateway, self.metrics, self.lineage))
        if self.guard:
            api.include_router(turning(self.gateway, self.guard, self.steering))
            api.include_router(adapter_routes(self.adapters, self.guard))
            api.openapi_url = OPENAPI
            api.setup()
        api.add_exception_handler(RequestValidationError, lambda _, error: unsound(error))

    async def run(self) -> None:
        """Watch and count until the server ends."""
        await asyncio.gather(self.metrics.run(), self.steering.run(), self.probes.run(), self.adapters.run())
