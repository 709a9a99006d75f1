"""Adds up what models take, and tells which ones have to go for another one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_NEGLIGIBLE = 1e-6  # GB: sums of decimal fractions are not exact


@dataclass(frozen=True, slots=True)
class Need:
    """Memory, in GB."""

    vram_gb: float = 0.0
    ram_gb: float = 0.0

    def __add__(self, other: "Need") -> "Need":
        return Need(self.vram_gb + other.vram_gb, self.ram_gb + other.ram_gb)

    def __sub__(self, other: "Need") -> "Need":
        return Need(self.vram_gb - other.vram_gb, self.ram_gb - other.ram_gb)


@dataclass(eq=False, slots=True)
class Slot:
    """A model that takes memory."""

    name: str
    need: Need
    state: Literal["loading", "ready", "unloading"]
    since: float
    """When it came into this state."""
    used: float
    """When a request for it last began or ended."""
    active: int = 0
    draining: bool = False

    @property
    def open(self) -> bool:
        """Whether it takes requests."""
        return self.state == "ready" and not self.draining

    @property
    def words(self) -> str:
        """Its state, for people."""
        return "draining" if self.draining and self.state == "ready" else self.state


def lacking(need: Need, room: Need) -> str:
    """What does not fit, in words; empty where all does."""
    over = [("on the GPU", need.vram_gb, room.vram_gb), ("of RAM", need.ram_gb, room.ram_gb)]
    return " and ".join(f"{asked:g} GB {where} (of {there:g})" for where, asked, there in over if asked > there + _NEGLIGIBLE)


def taken(slots: Iterable[Slot], *states: str) -> Need:
    """What models in these states take; all of them if none is named."""
    return sum((slot.need for slot in slots if not states or slot.state in states), Need())


def victims(wanted: Need, room: Need, slots: Iterable[Slot]) -> list[Slot]:
    """The models that have to go, least recently used first, idle ones before those that answer; nothing where all of them are too few.

    Args:
        wanted: What would be taken if none went.
        room: What may be taken.
        slots: What is there; only what is ready can go.
    """
    chosen = []
    for slot in sorted((slot for slot in slots if slot.state == "ready"), key=lambda slot: (slot.active > 0, slot.used)):
        helps_vram = slot.need.vram_gb > 0 and wanted.vram_gb > room.vram_gb + _NEGLIGIBLE
        helps_ram = slot.need.ram_gb > 0 and wanted.ram_gb > room.ram_gb + _NEGLIGIBLE
        if helps_vram or helps_ram:
            chosen.append(slot)
            wanted -= slot.need
    if lacking(wanted, room):
        return []
    for slot in reversed(list(chosen)):  # what a later one made needless stays, the last used first
        if not lacking(wanted + slot.need, room):
            wanted += slot.need
            chosen.remove(slot)
    return chosen
