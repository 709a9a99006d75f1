"""Real nginx, real Redis and two gateway processes, on free ports of this machine; each is ended by its own id."""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.serve.access.keys import Keys

ROOT = Path(__file__).parents[2]


def _loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Faulty = _loaded(ROOT / "test/servers/faulty.py").Faulty


def free_ports(count):
    """As many ports that nobody listens on."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]


def until_listens(port, process, log):
    """Wait for a process to take connections."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-3000:])


class Site:
    """Where everything is, and its processes by name."""

    def __init__(self, folder: Path, upstream) -> None:
        self.folder, self.upstream = folder, upstream
        self.processes: dict[str, subprocess.Popen] = {}
        self.nginx, self.redis, self.a, self.b = free_ports(4)
        self.keys = Keys(folder / "keys")

    def key(self, role="user"):
        return self.keys.create(name="ann", role=role, days=None)[1]

    def start(self, name, command, port, **environment):
        log = self.folder / f"{name}.log"
        with log.open("ab") as stream:
            env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
            self.processes[name] = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=self.folder, env=env)
        until_listens(port, self.processes[name], log)

    def start_redis(self):
        command = ["redis-server", "--port", str(self.redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.start("redis", command, self.redis)

    def start_gateway(self, name):
        port = {"a": self.a, "b": self.b}[name]
        command = [sys.executable, "-m", "src", "serve", str(self.folder / "site.yaml"), f"name=gateway-{name}", f"serve.port={port}"]
        self.start(name, command, port, REDIS_URL=f"redis://127.0.0.1:{self.redis}/0")

    def start_nginx(self):
        text = (ROOT / "deploy/nginx.conf").read_text()
        changes = {
            "listen 8080 default_server": f"listen 127.0.0.1:{self.nginx} default_server",
            "gateway-a:8000": f"127.0.0.1:{self.a}",
            "gateway-b:8000": f"127.0.0.1:{self.b}",
            "/tmp/": f"{self.folder}/",
            "worker_processes auto": "worker_processes 1",
            "client_header_timeout 10s": "client_header_timeout 1s",  # so that the test need not wait
            "client_body_timeout 10s": "client_body_timeout 1s",
            "access_log /dev/stdout": f"access_log {self.folder}/access.log",
        }
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        conf = self.folder / "nginx.conf"
        conf.write_text(text)
        self.start("nginx", ["nginx", "-p", str(self.folder), "-c", str(conf), "-g", "daemon off;"], self.nginx)

    def kill(self, name):
        """As kill -9 does."""
        self.processes[name].kill()
        self.processes[name].wait(10)

    def end(self):
        for each in reversed(self.processes.values()):
            if each.poll() is None:
                each.terminate()
        for each in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.wait(10)
            if each.poll() is None:
                each.kill()
                each.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """nginx before two gateways that count in one Redis, and behind them an upstream that does as it is told."""
    pytest.importorskip("redis", reason="needs the extra redis (uv sync --extra redis)")
    for program in ("nginx", "redis-server"):
        if not shutil.which(program):
            pytest.skip(f"needs {program} (apt-get install nginx redis-server)")
    folder = tmp_path_factory.mktemp("site")
    with Faulty().running() as upstream:
        roles = {"user": {}, "counted": {"requests_per_minute": 20}, "admin": {"routes": ["/admin/*", "/metrics", "/v1/lineage"]}}
        access = {"roles": roles, "limits": {"type": "redis", "timeout": 5}, "keys": str(folder / "keys")}
        models = {"m": {"type": "openai", "url": upstream.url, "model": "m"}}
        serve = {"engine": None, "models": models, "access": access, "trusted_proxies": ["127.0.0.1"]}
        (folder / "site.yaml").write_text(json.dumps({"name": "site", "serve": serve}))
        made = Site(folder, upstream)
        made.key()
        try:
            made.start_redis()
            made.start_gateway("a")
            made.start_gateway("b")
            made.start_nginx()
            yield made
        finally:
            made.end()
