"""What administrators turn while the server runs. It stands in a file that every worker watches, so all of them follow."""

import asyncio
import fcntl
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.core.files import write_text
from src.serve.gateway.gateway import Gateway

if TYPE_CHECKING:
    from src.serve import ServeConfig
    from src.serve.access.door import Guard

LOG = logging.getLogger("mlx.serve")
FILE = "steering.json"
TICK = 0.5  # seconds between two looks at the file
LIVE = ("roles", "public")
"""What of `serve.access` a reload changes; all else takes a restart."""


class Steering:
    """Drained models and the settings in force."""

    def __init__(
        self,
        folder: Path,
        gateway: Gateway,
        guard: "Guard | None",
        config: "ServeConfig",
        reread: Callable[[], "ServeConfig"],
        adapted: Callable[[Mapping[str, Any]], None] = lambda told: None,
    ) -> None:
        """Begin with what the file says; who starts the server takes an old one away (`forget`).

        Args:
            folder: Where the file lies.
            gateway: Its models are drained.
            guard: Its roles are changed.
            config: The settings in force.
            reread: Reads the settings anew; raises an MlxError where they are not sound.
            adapted: Told of the adapters that came and went (`Adapters.follow`).
        """
        self.path = folder / FILE
        self.gateway = gateway
        self.guard = guard
        self.config = config
        self.reread = reread
        self._adapted = adapted
        self._seen: tuple[int, int] | None = None
        self._turn = 0
        self._follow()

    @staticmethod
    def forget(folder: Path) -> None:
        """Begin without what an earlier server was told."""
        (folder / FILE).unlink(missing_ok=True)

    async def run(self) -> None:
        """Follow the file as long as the server runs."""
        while True:
            await asyncio.sleep(TICK)
            self._follow()

    def drain(self, name: str, *, drained: bool) -> None:
        """Let a model end what it is at and take nothing new, or take it back."""
        with self._changing() as told:
            told["drained"] = sorted({*told["drained"], name} if drained else set(told["drained"]) - {name})
        LOG.warning("model %s is %s", name, "drained" if drained else "back")

    @property
    def adapters(self) -> dict[str, Any]:
        """The adapters that came and went, by their names."""
        found: dict[str, Any] = self._read()["adapters"]
        return found

    def adapt(self, name: str, entry: Mapping[str, Any]) -> None:
        """Note that an adapter came or went."""
        with self._changing() as told:
            told["adapters"][name] = dict(entry)

    async def followed(self) -> None:
        """Wait until every worker has looked at what was just changed."""
        if self.config.workers > 1:
            await asyncio.sleep(TICK * 1.5)

    def reload(self) -> dict[str, list[str]]:
        """Read the settings anew and put in force what can be while the server runs.

        Returns:
            Keys that changed: `in_force`, and those that `wait_for_restart`.

        Raises:
            MlxError: Where they are not sound; the old ones stay in force.
        """
        told = self._changes(self.reread())
        with self._changing() as now:
            now["turn"] += 1
        return told

    def _changes(self, new: "ServeConfig") -> dict[str, list[str]]:
        old = self.config
        names = [name for name in type(old).model_fields if getattr(old, name) != getattr(new, name)]
        live: list[str] = []
        waits = [f"serve.{name}" for name in names if name != "access"]
        if old.access and new.access:
            for name in type(old.access).model_fields:
                if getattr(old.access, name) != getattr(new.access, name):
                    (live if name in LIVE else waits).append(f"serve.access.{name}")
        elif old.access != new.access:  # never to be left without a door by a file that lost its lines
            waits.append("serve.access")
        return {"in_force": live, "wait_for_restart": waits}

    def _follow(self) -> None:
        try:
            stat = self.path.stat()
        except OSError:
            return
        if (stat.st_ino, stat.st_mtime_ns) == self._seen:
            return
        self._seen = stat.st_ino, stat.st_mtime_ns
        told = self._read()
        self._adapted(told["adapters"])
        for name, model in self.gateway.models.items():
            model.drained = name in told["drained"]
        if told["turn"] != self._turn:
            self._turn = told["turn"]
            self._take()

    def _take(self) -> None:
        try:
            new = self.reread()
        except MlxError as error:
            LOG.error("the settings stay as they were: %s", error)
            return
        if self.guard and self.config.access and new.access:
            access = self.config.access.model_copy(update={name: getattr(new.access, name) for name in LIVE})
            self.guard.identify.access = access
            self.config = self.config.model_copy(update={"access": access})
            LOG.warning("the settings were read anew")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {"drained": list(found["drained"]), "turn": int(found["turn"]), "adapters": dict(found["adapters"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {"drained": [], "turn": self._turn, "adapters": {}}

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """What the file says, to be changed by one worker at a time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            told = self._read()
            yield told
            write_text(self.path, json.dumps(told) + "\n")
        self._follow()
