"""Decides which models a request is sent to: by its model's name, the rules, the examples, or the default."""

import random
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from src.serve.gateway.decision import Decision
from src.serve.gateway.gateway import unknown
from src.serve.request import Call
from src.serve.routing.asked import Asked
from src.serve.routing.choose import Condition, chain, picked, place, ruled
from src.serve.routing.settings import Routes, Target


class Tasks(Protocol):
    """Finds the task of a prompt."""

    async def task(self, prompt: str) -> "tuple[str | None, str]":
        """The task, or None where it cannot be told, and why; never raises."""


class Router:
    """Finds a route for every request; what it cannot decide goes to the default.

    Args:
        models: The names of the models that are there.
        routes: How the one routed name is decided; without them there is none.
        tasks: Finds the task by examples; without it that step is passed over.
        chance: Gives numbers from 0 to 1, for what is not sticky.

    Raises:
        ValueError: Where the routes name a model that is not there.
    """

    def __init__(
        self, models: Collection[str], routes: Routes | None = None, tasks: Tasks | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        if routes:
            routes.check(models)
        self.models = tuple(models)
        self.routes = routes
        self.tasks = tasks
        self.chance = chance
        self.conditions = [Condition.of(number, rule) for number, rule in enumerate(routes.rules if routes else (), 1)]
        self.fallback: Mapping[str, tuple[str, ...]] = routes.fallback if routes else {}
        self.named = {name: Decision(chain(name, self.fallback), "explicit") for name in models}

    @property
    def names(self) -> tuple[str, ...]:
        """The name that is routed, if there is one."""
        return (self.routes.name,) if self.routes else ()

    def add(self, name: str) -> None:
        """A model of this name came; no rule leads to it."""
        self.models = (*self.models, name)
        self.named = {**self.named, name: Decision(chain(name, self.fallback), "explicit")}

    def remove(self, name: str) -> None:
        """The model of this name went; no rule led to it."""
        self.models = tuple(each for each in self.models if each != name)
        self.named = {each: decision for each, decision in self.named.items() if each != name}

    async def decide(self, call: Call) -> Decision:
        """Find a route for a call.

        Raises:
            RequestError: 404 where there is no such model.
        """
        if named := self.named.get(call.model):
            return self._shadowed(named)
        return await self.route(Asked(call))

    async def route(self, asked: Asked) -> Decision:
        """Find a route for what is asked.

        Raises:
            RequestError: 404 where there is no such model.
        """
        if named := self.named.get(asked.model):
            return self._shadowed(named)
        if self.routes is None or asked.model != self.routes.name:
            raise unknown(asked.model, (*self.names, *self.models))
        target, why = await self._target(self.routes, asked)
        if isinstance(target, str):
            name = target
        else:
            name = picked(target, self._at(asked))
            why = f"{why}; weight {target[name] / sum(target.values()):.2g}"
        return self._shadowed(Decision(chain(name, self.fallback), why))

    async def _target(self, routes: Routes, asked: Asked) -> tuple[Target, str]:
        if condition := ruled(self.conditions, asked):
            return condition.rule.to, condition.why
        if self.tasks is None:
            return routes.default, "default"
        task, why = await self.tasks.task(asked.prompt)
        if task is None:
            return routes.default, f"default; {why}"
        return routes.tasks.get(task, task), why

    def _at(self, asked: Asked) -> float:
        sticky = self.routes is not None and self.routes.sticky and (asked.user or asked.opening)
        return place(asked.user, asked.opening) if sticky else self.chance()

    def _shadowed(self, decision: Decision) -> Decision:
        shadow = self.routes.shadow.get(decision.to[0]) if self.routes else None
        if shadow is None or shadow.share <= self.chance():
            return decision
        return Decision(decision.to, decision.why, shadow.to)
