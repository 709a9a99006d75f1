"""A guarded server with its control plane, and keys of three roles."""

import asyncio
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.core.errors import ConfigError
from src.serve import ServeConfig
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.control.control import Control
from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model


def _loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


Faulty = _loaded(Path(__file__).parents[2] / "servers/faulty.py").Faulty
WATCHER = ("/metrics", "/v1/lineage", "/v1/models")
ROLES = {"user": {}, "watcher": {"routes": WATCHER, "models": ["one"]}, "admin": {"routes": ["/admin/*", *WATCHER]}}


@pytest.fixture
def upstream():
    with Faulty().running() as running:
        yield running


class Plane:
    """Starts servers and knows their keys."""

    folder = Path("serve")

    def __init__(self, web, upstream):
        self.web, self.upstream = web, upstream
        self.keys = {role: Keys(self.folder).create(name=role, role=role, days=None) for role in ROLES}
        self.config = self.settings()

    def settings(self, roles=ROLES, **more):
        models = {name: {"type": "openai", "url": self.upstream.url, "model": "m"} for name in ("one", "two")}
        return ServeConfig.model_validate({"engine": None, "models": models, "access": {"roles": roles}, **more})

    def gateway(self):
        parts = [OpenAIEngine(type="openai", url=self.upstream.url, model="m", retries=0) for _ in range(2)]
        names = ("one", "two")
        opened = {n: part.open(None, name=n, max_new_tokens=None, log=Path("log")) for n, part in zip(names, parts, strict=True)}
        return Gateway({name: Model(name, engine, part) for (name, engine), part in zip(opened.items(), parts, strict=True)})

    def reread(self):
        if isinstance(self.config, Exception):
            raise self.config
        return self.config

    @contextmanager
    def running(self, *, guarded=True, lineage=None):
        gateway = self.gateway()
        guard = open_guard(self.config.access, self.folder) if guarded else None
        told = lineage if lineage is not None else {"one": [{"stage": "train"}], "two": []}
        control = Control(gateway, guard, folder=self.folder, config=self.config, reread=self.reread, lineage=told)
        self.control = control
        running = control.run

        async def noted():
            self.loop = asyncio.get_running_loop()
            await running()

        control.run = noted
        with self.web.running(gateway, guard=guard, control=control) as address:
            yield address

    def ask(self, address, path, role=None, method="GET", **options):
        if role:
            options["authorization"] = f"Bearer {self.keys[role][1]}"
        return self.web.ask(address, path=path, method=method, **options)

    def chat(self, address, model="one", **more):
        key = f"Bearer {self.keys['user'][1]}"
        return self.web.ask(address, self.web.chat(model=model, **more), authorization=key)

    def on_loop(self, work):
        """Do something where the server runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def spoil(self):
        self.config = ConfigError("main.yaml:3: serve.access.roles.usr.ratez: no such key")


@pytest.fixture
def plane(web, upstream):
    return Plane(web, upstream)
