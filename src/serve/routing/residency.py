"""Keeps the loaded models within the machine's memory: who asks for one waits until it is there, and no answer is cut for another."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from src.core.secrets import redact
from src.serve.request import UnavailableError
from src.serve.routing.failed_loads import FailedLoads, out_of_memory, unavailable, words
from src.serve.routing.room import Need, Slot, lacking, taken, victims
from src.serve.routing.settings import Budgets
from src.serve.routing.waiting import Waiting

LOG = logging.getLogger("mlx.routing")
_FIRST_GUESS = 5.0  # seconds that a load takes, as long as none was seen


class Residency:
    """Loads and unloads models, for one event loop.

    Requests for a loaded model pass. The longest waiting request for another one decides which comes next: the least recently used
    models that are in its way are drained once they were idle for `linger` seconds, or after `batch` seconds in any case, and unloaded.
    A model that was just loaded answers all that waited for it, whatever came between.

    Args:
        needs: What each model takes; those that are not named pass at once.
        budgets: What they may take together.
        load: Loads a model; memory counts as taken from its call on.
        unload: Unloads one; memory counts as free once it has returned.
        look: Whether a model is loaded already; none is if None.

    Raises:
        ValueError: Where a model alone is too large.
    """

    def __init__(
        self,
        needs: Mapping[str, Need],
        budgets: Budgets,
        load: Callable[[str], Awaitable[Any]],
        unload: Callable[[str], Awaitable[Any]],
        look: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self.whole = Need(budgets.vram_gb, budgets.ram_gb)
        for name, need in needs.items():
            if missing := lacking(need, self.whole):
                raise ValueError(f"model {name!r} needs {missing} alone: give it less (fewer layers on the GPU), or raise serve.residency")
        self.needs = needs
        self.budgets = budgets
        self.slots: dict[str, Slot] = {}
        self._load, self._unload, self._look = load, unload, look
        self._waiting = Waiting()
        self._failed = FailedLoads(budgets.retry)
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._load_seconds = _FIRST_GUESS
        self.swaps = 0
        """Models unloaded for others so far."""
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Find out what is loaded already; requests wait for that."""
        try:
            for name in self.needs if self._look else ():
                if self._look and await self._look(name):
                    self.adopt(name)
        finally:
            self._looked.set()

    @asynccontextmanager
    async def hold(self, name: str, wait: float | None = None) -> AsyncGenerator[None]:
        """Have the model loaded as long as the block runs.

        Args:
            name: The model.
            wait: Seconds until it has to be there; the settings' if None.

        Raises:
            UnavailableError: 503 where it is not there in time, or does not load.
            RequestError: Where nobody can load it: what its engine says.
        """
        if name not in self.needs:
            yield
            return
        if self._look and not self._looked.is_set():
            await self._looked.wait()
        await self._turn(name, self.budgets.wait if wait is None else wait)
        try:
            yield
        finally:
            self._leave(name)

    def is_loaded(self, name: str) -> bool:
        """Whether a request for it passes at once."""
        slot = self.slots.get(name)
        return name not in self.needs or (slot is not None and slot.open)

    def adopt(self, name: str) -> None:
        """Take note that a model is loaded already."""
        if name in self.needs and name not in self.slots:
            now = self._now()
            self.slots[name] = Slot(name, self.needs[name], "ready", since=now, used=now)
            while over := lacking(taken(self.slots.values(), "loading", "ready"), self.whole):
                LOG.warning("%s are loaded, and with %s too much: unloading", ", ".join(self.slots), over)
                self._start_unload(next(slot for slot in self.slots.values() if slot.state == "ready"))

    def status(self) -> list[dict[str, Any]]:
        """Each model with its state, for people."""
        return [
            {
                "model": name,
                "state": self.slots[name].state if name in self.slots else "unloaded",
                "vram_gb": need.vram_gb,
                "ram_gb": need.ram_gb,
                "requests": self.slots[name].active if name in self.slots else 0,
                "waiting": self._waiting.count(name),
            }
            for name, need in self.needs.items()
        ]

    async def close(self) -> None:
        """End; what is loaded stays loaded."""
        if self._alarm:
            self._alarm.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _turn(self, name: str, wait: float) -> None:
        slot = self.slots.get(name)
        if slot is not None and slot.open:
            self._admit(slot)
            return
        if refusal := self._failed.refusal(name, self._now()):
            raise refusal
        ticket = self._waiting.join(name, self._now())
        self._arrange()
        try:
            async with asyncio.timeout(wait):
                await ticket.turn
        except BaseException as error:
            if ticket.admitted:  # and gone in the same moment
                self._leave(name)
            if isinstance(error, TimeoutError):
                raise self._late(name, wait) from None
            raise
        finally:
            if self._waiting.leave(ticket):
                self._arrange()

    def _leave(self, name: str) -> None:
        slot = self.slots[name]
        slot.active -= 1
        slot.used = self._now()
        self._arrange()

    def _admit(self, slot: Slot) -> None:
        slot.active += 1
        slot.used = self._now()

    def _arrange(self) -> None:
        """Do what can be done now: everything that happens ends here."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        for slot in self.slots.values():
            slot.draining = False
        for name in self._waiting.names:
            if name not in self.slots and not self._make_room(name):
                break  # none that came later goes before it: they would take its room again and again
        for slot in self.slots.values():
            if slot.open:
                self._admit_waiting(slot)

    def _admit_waiting(self, slot: Slot) -> None:
        for ticket in self._waiting.call(slot.name):
            ticket.admitted = True
            self._admit(slot)
            ticket.turn.set_result(None)

    def _make_room(self, name: str) -> bool:
        """Begin to load a model, or to unload others for it; whether it has its room."""
        need = self.needs[name]
        if not lacking(taken(self.slots.values()) + need, self.whole):
            self._start_load(name)
            return True
        chosen = victims(taken(self.slots.values(), "loading", "ready") + need, self.whole, self.slots.values())
        now = self._now()
        due = [self._due(slot, self._waiting.since(name)) for slot in chosen]
        for slot, at in zip(chosen, due, strict=True):
            slot.draining = at <= now
        if chosen and all(slot.draining and not slot.active for slot in chosen):
            for slot in chosen:
                self.swaps += 1
                self._start_unload(slot)
        elif later := [at for at in due if at > now]:
            self._alarm = asyncio.get_running_loop().call_at(min(later), self._arrange)
        return False

    def _due(self, slot: Slot, first: float) -> float:
        """When a model has to make room for one that was first waited for then."""
        latest = max(first, slot.since) + self.budgets.batch
        return latest if slot.active else min(latest, slot.used + self.budgets.linger)

    def _start_load(self, name: str) -> None:
        now = self._now()
        slot = self.slots[name] = Slot(name, self.needs[name], "loading", since=now, used=now)
        self._spawn(self._loading(slot))

    async def _loading(self, slot: Slot) -> None:
        began = self._now()
        try:
            async with asyncio.timeout(self.budgets.load_timeout):
                await self._load(slot.name)
        except Exception as error:
            self._failed.note(slot.name, error, self._now())
            LOG.warning("model %s does not load: %s", slot.name, words(error))
            if out_of_memory(error):
                LOG.warning("model %s takes more than its vram_gb %g and ram_gb %g say", slot.name, slot.need.vram_gb, slot.need.ram_gb)
            for ticket in self._waiting.call(slot.name):
                ticket.turn.set_exception(self._failed.told(slot.name, self._now()))
            self._start_unload(slot)
            return
        self._failed.forget(slot.name)
        slot.state, slot.since, slot.used = "ready", self._now(), self._now()
        self._load_seconds = (self._load_seconds + slot.since - began) / 2
        LOG.info("model %s is loaded (%.1f s)", slot.name, slot.since - began)
        self._admit_waiting(slot)  # before anything else: those who come next may already be waiting for its memory
        self._arrange()

    def _start_unload(self, slot: Slot) -> None:
        slot.state = "unloading"
        self._spawn(self._unloading(slot))

    async def _unloading(self, slot: Slot) -> None:
        while True:
            try:
                async with asyncio.timeout(self.budgets.load_timeout):
                    await self._unload(slot.name)
                break
            except Exception as error:
                LOG.warning("model %s does not unload: %s", slot.name, redact(str(error)) or "it takes too long")
                await asyncio.sleep(self.budgets.retry)
        del self.slots[slot.name]
        LOG.info("model %s is unloaded", slot.name)
        self._arrange()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _late(self, name: str, wait: float) -> UnavailableError:
        there = "; ".join(f"{slot.name} is {slot.words}" for slot in self.slots.values()) or "nothing is loaded"
        return unavailable(f"model {name!r} did not get its turn in {wait:g} s: {there}", "model_waiting", self._load_seconds)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
