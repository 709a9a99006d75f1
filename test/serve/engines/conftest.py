"""A program that behaves like vLLM with adapters, trainings below `checkpoint`, and a guarded server around them."""

import http.client
import json
import shutil
import stat
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.llm import launcher as module
from src.models.trained import Trained
from src.serve import ServeConfig
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.control import steering
from src.serve.control.control import Control
from src.serve.control.lineage import made_from
from src.serve.open_gateway import kept, open_gateway

STAND_IN = Path(__file__).with_name("lora_stand_in.py")
ROLES = {"user": {}, "few": {"models": ["keeper"]}, "admin": {"routes": ["/admin/*", "/v1/*", "/metrics"]}}
NOTES = Path("notes")


class Lora:
    """Trainings, and servers of them."""

    def __init__(self, web, trained_folder):
        self.web = web
        self.own = self.training("keeper", trained_folder)
        Path("poet").mkdir()
        program = Path("vllm")
        program.write_text(f'#!/bin/sh\nexport STAND_IN_NOTES={NOTES.resolve()}\nexec {sys.executable} {STAND_IN} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.program = program.resolve()
        self.keys = {role: Keys(Path("serve")).create(name=role, role=role, days=None)[1] for role in ROLES}

    def training(self, name, source=None, *, system=None, config=None, **info):
        """A training below `checkpoint`, like another one but for what is named."""
        folder = Path("checkpoint") / name / "train"
        shutil.copytree(source or self.own, folder)
        path = folder / "manifest.json"
        told = json.loads(path.read_text())
        told["info"] |= info | ({"system": system} if system else {})
        path.write_text(json.dumps(told))
        if config:
            path = folder / "adapter/adapter_config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return folder

    def config(self, engine=None, **more):
        part = {"type": "vllm", "executable": self.program, **(engine or {})}
        return ServeConfig.model_validate({"engine": part, "model_name": "keeper", "access": {"roles": ROLES}, **more})

    def gateway(self, config=None, beside=None):
        return open_gateway(config or self.config(), Trained.of(self.own), project="keeper", output=Path("serve"), beside=beside or {})

    @contextmanager
    def running(self, config=None, beside=None, guarded=True, seconds=20):
        """Address of a server with its control plane; the first answer waits for vLLM."""
        config = config or self.config()
        gateway = self.server = self.gateway(config, beside)
        guard = open_guard(config.access, Path("serve")) if guarded else None
        behind = {name: made_from(model.folder) for name, model in gateway.models.items() if model.folder}
        control = Control(gateway, guard, folder=Path("serve"), config=config, reread=lambda: config, lineage=behind)
        with self.web.running(gateway, guard=guard, control=control) as address:
            if config.residency is None:
                self.web.until(lambda: self.web.ask(address, path="/health/ready", method="GET")[2]["status"] == "ready", seconds)
            yield address

    @contextmanager
    def kept(self, config):
        """Addresses of the engines, as the parent of several workers keeps them."""
        launchers = kept(config, Trained.of(self.own), project="keeper")
        try:
            for launcher in launchers.values():
                launcher.start()
                launcher.wait()
            yield {name: launcher.url for name, launcher in launchers.items()}
        finally:
            for launcher in launchers.values():
                launcher.stop()

    def ask(self, address, model="keeper", text="Hello", role="user", **more):
        """Status and error's code or the answer's text."""
        status, _, body = self.web.ask(address, self.web.chat(text, model=model, **more), authorization=f"Bearer {self.keys[role]}")
        return status, body["choices"][0]["message"]["content"] if status == 200 else body["error"]["code"]

    def admin(self, address, body=None, method="POST", path="/admin/adapters", role="admin"):
        status, _, body = self.web.ask(address, body, path=path, method=method, authorization=f"Bearer {self.keys[role]}")
        return status, body

    def load(self, address, name, folder, **more):
        return self.admin(address, {"name": name, "folder": str(folder), **more})

    def unload(self, address, name):
        return self.admin(address, method="DELETE", path=f"/admin/adapters/{name}")

    @contextmanager
    def stream(self, address, model):
        """An answer under way, with what it said so far; its end comes with the file `enough`."""
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.keys['user']}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(self.web.chat(model=model, stream=True)), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        first = response.read(1)
        yield lambda: (Path("enough").touch(), (first + response.read()).decode())[1]
        Path("enough").unlink(missing_ok=True)
        connection.close()

    @staticmethod
    def notes(**like):
        """What vLLM was told."""
        rows = [json.loads(line) for line in NOTES.read_text().splitlines()] if NOTES.exists() else []
        return [row for row in rows if all(row.get(key) == value for key, value in like.items())]


@pytest.fixture
def lora(web, trained_folder, monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(module, "PULSE", 0.05)
    monkeypatch.setattr(steering, "TICK", 0.05)
    return Lora(web, trained_folder)
