"""One guarded gateway before one upstream for all named cases, and ways to send it anything at all."""

import http.client
import importlib.util
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from src.serve import ServeConfig
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.strength import made
from src.serve.control.control import Control
from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.route import Patience


def _loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


faulty = _loaded(Path(__file__).parents[2] / "servers/faulty.py")
CHAT = "/v1/chat/completions"
BODY = 1_000_000
ROLES = {
    "user": {"routes": ["/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"]},
    "admin": {"routes": ["/admin/*", "/metrics"]},
    "tight": {"requests_per_minute": 10, "tokens_per_day": 100_000},
}


class Gate:
    """A running gateway, and what a client can do to it."""

    def __init__(self, web, folder: Path, upstream, secret: str) -> None:
        self.web, self.folder, self.upstream, self.secret = web, folder, upstream, secret
        self.keys = {role: Keys(folder).create(name=role, role=role, days=None)[1] for role in ROLES}
        self.address = ""

    def bearer(self, role="user"):
        return {"authorization": f"Bearer {self.keys[role]}"}

    def body(self, text="Hello", **more):
        return {"model": "m", "messages": [{"role": "user", "content": text}], **more}

    def ask(self, body=None, *, role="user", path=CHAT, method="POST", raw=None, **headers):
        """Ask with a good key unless `role` is None; return status, headers, body."""
        given = self.bearer(role) if role else {}
        return self.web.ask(
            self.address,
            body if body is not None or raw is not None or method != "POST" else self.body(),
            path=path,
            method=method,
            raw=raw,
            **{**given, **headers},
        )

    def works(self):
        """Whether it still answers as it should."""
        return self.ask()[0] == 200

    def connect(self):
        host, port = self.address.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def said(self, data: bytes, wait=20.0) -> bytes:
        """Send bytes as they are; return what comes until it ends or stops for long."""
        with self.connect() as client:
            client.settimeout(wait)
            found = b""
            try:
                client.sendall(data)
                while piece := client.recv(65_536):
                    found += piece
                    if _whole(found):
                        break
            except (TimeoutError, ConnectionError):
                pass
            return found

    def head(self, *lines: str, method="POST", path=CHAT, version="1.1", key=True) -> bytes:
        """The head of a request with these further lines."""
        own = [f"{method} {path} HTTP/{version}", "host: localhost", *([f"authorization: Bearer {self.keys['user']}"] if key else [])]
        return ("\r\n".join([*own, *lines]) + "\r\n\r\n").encode("latin-1")

    def stream(self, **more):
        """Open a stream and return its connection and response."""
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=20)
        connection.request("POST", CHAT, json.dumps(self.body(stream=True, **more)), {"content-type": "application/json", **self.bearer()})
        return connection, connection.getresponse()

    @property
    def audit(self) -> str:
        return "".join(path.read_text() for path in sorted((self.folder / "audit").glob("*.jsonl")))


def _whole(found: bytes) -> bool:
    head, end, rest = found.partition(b"\r\n\r\n")
    if not end:
        return False
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(rest) >= int(length[0].split(b":")[1]) if length else rest.endswith(b"0\r\n\r\n")


def status_of(answer: bytes) -> int:
    """The status of an answer's first line; 0 where the connection was just closed."""
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0


@pytest.fixture(scope="module")
def gate(web, tmp_path_factory):
    """The gateway."""
    folder = tmp_path_factory.mktemp("gate")
    secret = made()
    os.environ["MLX_JWT_SECRET"] = secret
    try:
        with faulty.Faulty().running() as upstream:
            made_gate = Gate(web, folder, upstream, secret)
            part = OpenAIEngine(
                type="openai", url=upstream.url, model="m", retries=0, first_byte_timeout=5, idle_timeout=2, failures=10_000
            )
            engine = part.open(None, name="m", max_new_tokens=None, log=folder / "log")
            gateway = Gateway({"m": Model("m", engine, part)})
            settings = {"roles": ROLES, "jwt": {}, "wrong_keys_per_minute": None}
            config = ServeConfig.model_validate(
                {"engine": None, "models": {"m": {"type": "openai", "url": upstream.url, "model": "m"}}, "access": settings}
            )
            guard = open_guard(config.access, folder)
            control = Control(gateway, guard, folder=folder, config=config, reread=lambda: config, lineage={})
            patience = Patience(body=1.0, answer=20.0)
            hosts = frozenset({"localhost", "127.0.0.1", "[::1]"})
            with web.running(gateway, guard=guard, control=control, max_body=BODY, patience=patience, hosts=hosts) as address:
                made_gate.address = address
                yield made_gate
    finally:
        del os.environ["MLX_JWT_SECRET"]


@pytest.fixture(autouse=True)
def well(gate):
    """Each case begins with an upstream that is well."""
    gate.upstream.mood = "well"
    gate.upstream.script.clear()
