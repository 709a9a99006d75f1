"""CAPACITY: memory that was reckoned wrong, limits after a restart, settings read anew, and who leaves while waiting."""

import http.client
import json
import sys
import threading
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.serve import ServeConfig, serve
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.control.control import Control
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.open_gateway import open_gateway
from src.serve.reply import Reply
from src.serve.request import CHAT as CHAT_PATH
from src.serve.routing.failed_loads import FailedLoads, out_of_memory
from src.serve.routing.residency import Residency
from src.serve.routing.room import Need
from src.serve.routing.settings import Budgets

from .conftest import CHAT, faulty

SPENT = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 15.70 GiB; see /srv/secret/model.py"
ENGINE = """
import sys
sys.stderr.write("loading /srv/secret/weights\\n" + {words!r} + "\\n")
sys.exit(1)
"""


@pytest.fixture
def spent(tmp_path):
    """A server whose large model takes more than it says, with a small one behind it."""
    program = tmp_path / "engine.py"
    program.write_text(ENGINE.format(words=SPENT))
    with faulty.Faulty().running() as upstream:
        well = [sys.executable, str(Path(faulty.__file__)), "--port", "{port}"]
        models = {
            "large": {"type": "process", "command": [sys.executable, str(program), "--port", "{port}"], "vram_gb": 10},
            "alone": {"type": "process", "command": [sys.executable, str(program), "--port", "{port}"], "vram_gb": 10},
            "small": {"type": "openai", "url": upstream.url, "model": "m"},
            "other": {"type": "process", "command": well, "vram_gb": 10},
        }
        routes = {"name": "both", "default": "large", "fallback": {"large": ["small"]}}
        said = {"engine": None, "models": models, "routes": routes, "residency": {"vram_gb": 16, "retry": 60}, "page": False}
        yield open_gateway(ServeConfig.model_validate(said), None, project="test", output=tmp_path, beside={})


def test_vram_estimate_that_is_wrong_falls_back_and_leaves_the_sums_right(web, spent, caplog):
    with web.running(spent) as address:
        status, headers, _ = web.ask(address, web.chat(model="both"))
        assert (status, headers["x-mlx-route"]) == (200, "small; default; not large")
        web.until(lambda: not spent.residency.slots)  # what died takes no memory
        status, headers, told = web.ask(address, web.chat(model="alone"))
        assert (status, told["error"]["code"]) == (503, "model_not_loaded") and int(headers["retry-after"]) > 30
        assert told["error"]["message"] == "the model does not load: there is not enough memory for it"
        assert web.ask(address, web.chat(model="other"))[0] == 200, "and its room is there for another model"
        assert {name: slot.state for name, slot in spent.residency.slots.items()} == {"other": "ready"}
    assert "CUDA out of memory" in caplog.text and "takes more than its vram_gb 10" in caplog.text


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (MlxError("vllm ended with code 1\n  ValueError: /srv/secret/key.py line 3"), False),
        (MlxError(f"vllm ended with code 1\n  {SPENT}"), True),
        (MlxError("llama-server ended by signal 9"), True),
        (MlxError("Ollama: model requires more system memory (20.1 GiB) than is available (10.2 GiB)"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("on cuda:0"), True),
        (MemoryError(), True),
        (TimeoutError(), False),
        (OSError(2, "No such file", "/srv/secret/engine"), False),
        (MlxError("no Ollama at http://10.1.2.3:11434"), False),
    ],
)
def test_what_does_not_load_is_told_without_what_is_inside(error, spent):
    failed = FailedLoads(20.0)
    failed.note("large", error, 0.0)
    told = str(failed.told("large", 0.0))
    assert out_of_memory(error) == spent == ("not enough memory" in told)
    assert "secret" not in told and "10.1.2.3" not in told and "\n" not in told and told.startswith("the model does not load: ")


def test_engine_out_of_memory_amid_its_work_falls_back(web):
    with faulty.Faulty().running() as large, faulty.Faulty().running() as small:
        large.mood = "out_of_memory"
        urls = {"large": large.url, "alone": large.url, "small": small.url}
        models = {name: {"type": "openai", "url": url, "model": "m"} for name, url in urls.items()}
        routes = {"name": "both", "default": "large", "fallback": {"large": ["small"]}}
        made = open_gateway(
            ServeConfig.model_validate({"engine": None, "models": models, "routes": routes}), None, project="test", output=Path(), beside={}
        )
        with web.running(made) as address:
            assert web.ask(address, web.chat(model="both"))[0] == 200 and len(small.seen) == 1
            status, _, told = web.ask(address, web.chat(model="alone"))
            assert status == 502 and "CUDA" not in json.dumps(told) and "/srv" not in json.dumps(told)


class Waiting:
    """An engine that takes its time to load."""

    paths = frozenset((CHAT_PATH,))
    state = "ready"

    def __init__(self):
        self.asked = 0

    async def run(self):
        pass

    async def stop(self):
        pass

    async def ask(self, call):
        self.asked += 1
        return Reply.of({"choices": []})


def test_cancel_while_queued_asks_nobody_and_holds_no_place(web):
    import asyncio

    engine, go = Waiting(), threading.Event()

    async def load(name):
        while not go.is_set():
            await asyncio.sleep(0.01)

    async def unload(name):
        pass

    gateway = Gateway({"keeper": Model("keeper", engine)})
    gateway.residency = Residency({"keeper": Need(1)}, Budgets(vram_gb=1), load, unload)

    def waiting():
        return gateway.residency.status()[0]["waiting"]

    with web.running(gateway) as address:
        clients = []
        for _ in range(5):
            client = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
            client.request("POST", CHAT, json.dumps(web.chat()), {"content-type": "application/json"})
            clients.append(client)
        web.until(lambda: waiting() == 5)
        for client in clients[1:]:
            client.close()
        web.until(lambda: waiting() == 1)
        go.set()
        assert clients[0].getresponse().status == 200
        web.until(lambda: gateway.residency.status()[0]["requests"] == 0)
        assert engine.asked == 1, "an engine was asked for somebody who had gone"
        clients[0].close()


def test_graceful_end_lets_streams_come_to_theirs(web):
    """SIGTERM sets what is set here (test_serve.py sends it): nothing new is taken, and what is told is told to its end."""
    with faulty.Faulty(mood="slow_stream").running() as upstream:
        config = ServeConfig.model_validate({"engine": None, "models": {"m": {"type": "openai", "url": upstream.url, "model": "m"}}})
        told = []
        with web.running(open_gateway(config, None, project="test", output=Path(), beside={})) as address:
            client = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
            client.request("POST", CHAT, json.dumps(web.chat(model="m", stream=True)), {"content-type": "application/json"})
            response = client.getresponse()
            first = response.read1(100)
            reading = threading.Thread(target=lambda: told.append(response.read()))
            reading.start()
        reading.join(20)
        client.close()
    assert b"data:" in first and b"[DONE]" not in first and told[0].endswith(b"data: [DONE]\n\n")


SETTINGS = """
name: test
serve:
  engine: null
  models: {{m: {{type: openai, url: "{url}", model: m}}}}
  access:
    audit: null
    roles: {{user: {{models: {models}}}, admin: {{routes: ["/admin/*"]}}}}
"""
BAD = {
    "no yaml": "name: [",
    "tabs": "name: x\n\tserve: 1\n",
    "unknown key": "name: test\nserve: {enginee: null}\n",
    "python object": "name: test\nserve: !!python/object/apply:os.system ['touch owned']\n",
    "empty": "",
    "binary": "\x00\x01",
    "no roles": "name: test\nserve: {engine: null, models: {}, access: {roles: {}}}\n",
}


def test_config_hot_reload_with_bad_yaml_keeps_the_old(web, tmp_path):
    file = Path("main.yaml")
    with faulty.Faulty().running() as upstream:
        good = SETTINGS.format(url=upstream.url, models="[m]")
        file.write_text(good)

        def read():
            return serve.load(file).section("serve")

        config, folder = read(), tmp_path / "serve"
        keys = {role: Keys(folder).create(name=role, role=role, days=None)[1] for role in ("user", "admin")}
        guard = open_guard(config.access, folder)
        gateway = open_gateway(config, None, project="test", output=folder, beside={})
        control = Control(gateway, guard, folder=folder, config=config, reread=read, lineage={})

        def reload():
            return web.ask(address, path="/admin/reload", authorization=f"Bearer {keys['admin']}")

        def asked():
            return web.ask(address, web.chat(model="m"), authorization=f"Bearer {keys['user']}")[0]

        with web.running(gateway, guard=guard, control=control) as address:
            for name, text in BAD.items():
                file.write_text(text)
                status, _, told = reload()
                assert status == 409 and told["error"]["message"].startswith("the settings stay as they were"), (name, told)
                assert asked() == 200, name
            file.unlink()
            assert reload()[0] == 409 and asked() == 200
            file.write_text(good.replace("[m]", "[nothing]"))
            assert reload()[2] == {"in_force": ["serve.access.roles"], "wait_for_restart": []}
            assert asked() == 403, "good settings are taken up"
    assert not Path("owned").exists()


def test_limits_in_redis_go_on_after_a_restart(web, redis_port, tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{redis_port}/0")
    settings = {"roles": {"user": {"requests_per_minute": 3}}, "audit": None, "limits": {"type": "redis", "prefix": tmp_path.name}}
    with faulty.Faulty().running() as upstream:
        models = {"m": {"type": "openai", "url": upstream.url, "model": "m"}}
        config = ServeConfig.model_validate({"engine": None, "models": models, "access": settings})
        key = Keys(tmp_path).create(name="ann", role="user", days=None)[1]
        found = []
        for _ in range(2):
            gateway = open_gateway(config, None, project="test", output=tmp_path, beside={})
            with web.running(gateway, guard=open_guard(config.access, tmp_path)) as address:
                found += [web.ask(address, web.chat(model="m"), authorization=f"Bearer {key}")[0] for _ in range(2)]
    assert found == [200, 200, 200, 429]
