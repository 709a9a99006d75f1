"""Makes router and residency of a gateway from their settings."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.routing.classified import Classified
from src.serve.routing.examples import examples
from src.serve.routing.residency import Residency
from src.serve.routing.room import Need
from src.serve.routing.router import Router
from src.serve.routing.settings import Examples, Routes
from src.serve.routing.shadows import ShadowTraffic

if TYPE_CHECKING:
    from src.serve import ServeConfig
    from src.serve.beside.keeper import Keeper


def open_examples(routes: Routes, models: Collection[str]) -> Examples:
    """The prompts by task of sound routes.

    Raises:
        MlxError: Where a route or a task leads to no model, or the file is none.
    """
    try:
        routes.check(models)
    except ValueError as error:
        raise MlxError(f"serve.{error}") from None
    return examples(routes, models)


def open_routes(gateway: Gateway, routes: Routes, embedder: "Keeper | None") -> None:
    """Let a gateway route, by examples too where an embedder has them."""
    gateway.router = Router(gateway.models, routes, Classified(routes.classifier, embedder) if embedder else None)
    gateway.shadows = ShadowTraffic(routes.shadows) if routes.shadow else None


def open_residency(config: "ServeConfig", models: Mapping[str, Model]) -> Residency | None:
    """Let models be loaded and unloaded; those of a size whose engine can do that.

    Raises:
        MlxError: Where one has a size and cannot be unloaded, or is too large alone.
    """
    if config.residency is None:
        return None
    sized = [model for model in models.values() if not model.within and (model.part.vram_gb or model.part.ram_gb)]
    needs = {model.name: Need(model.part.vram_gb, model.part.ram_gb) for model in sized}
    engines: dict[str, Any] = {name: models[name].engine for name in needs}
    for name, engine in engines.items():
        if not hasattr(engine, "unload"):
            raise MlxError(
                f"models.{name} has a size, and an engine of its type cannot be unloaded", "leave vram_gb and ram_gb out: it stays loaded"
            )
        engine.on_demand = True
    try:
        return Residency(
            needs,
            config.residency,
            lambda name: engines[name].load(),
            lambda name: engines[name].unload(),
            lambda name: engines[name].look(),
        )
    except ValueError as error:
        raise MlxError(f"serve.{error}") from None
