"""Servers far away are looked for: one that is not there is told, and no request waits for it where another model is in line."""

import asyncio
import json
import random
import socket
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from src.serve.control import probes as module
from src.serve.control.control import Control
from src.serve.control.probes import Probes
from src.serve.control.shapes import Health
from src.serve.engines.ollama import OllamaEngine
from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.ask import ask
from src.serve.gateway.decision import Decision
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.parse import parse
from src.serve.reply import Reply
from src.serve.request import CHAT

from ..routing.virtual import run  # noqa: TID252 (one clock for all)
from .conftest import Faulty
from .test_metrics import counted


class Far:
    """An engine that is there or not, as it is told."""

    paths = frozenset((CHAT,))
    state = "ready"

    def __init__(self, *faults):
        self.faults = list(faults)
        self.looks, self.asked = [], 0

    async def probe(self):
        self.looks.append(asyncio.get_running_loop().time())
        fault = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0] if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        return fault

    async def ask(self, call):
        self.asked += 1
        return Reply.of({})


def part(**more):
    return OpenAIEngine(type="openai", url="http://127.0.0.1:1/v1", model="m", **more)


def gateway(engine, **more):
    return Gateway({"far": Model("far", engine, part(**more)), "near": Model("near", Far(), part(probe=None))})


def watched(engine, seconds, each=lambda made: None, **more):
    """The gateway after some seconds, and `down` of its first model as it was at each whole one."""

    async def work():
        made, told = gateway(engine, **more), []
        looking = asyncio.create_task(Probes(made, random.Random(0)).run())
        for _ in range(seconds):
            await asyncio.sleep(1)
            each(made)
            told.append(made.models["far"].down)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        return made, told

    return run(work())


def test_who_does_not_answer_twice_is_down_until_it_does(caplog):
    made, told = watched(Far("cannot be reached", "cannot be reached", "cannot be reached", None), 40)
    assert told[0] == "" and "cannot be reached" in told[1:3], "one failure may be an accident, two are none"
    assert told[-1] == "" and made.models["far"].state == "ready"
    assert [record.getMessage() for record in caplog.records] == [
        "model far is down: its server cannot be reached",
        "model far is there again",
    ]


def test_one_failure_is_none():
    assert set(watched(Far("answered 503", None, None), 30)[1]) == {""}


def test_a_model_that_answers_is_not_asked():
    def answered(made):
        made.models["far"].tally.answered += 1

    made, told = watched(Far("cannot be reached"), 300, answered)
    assert len(made.models["far"].engine.looks) == 1 and set(told) == {""}


def test_it_is_asked_now_and_then_and_never_all_at_once():
    looks = watched(Far(), 300)[0].models["far"].engine.looks
    pauses = [after - before for before, after in pairwise(looks)]
    assert all(12 <= pause <= 18 for pause in pauses) and len({round(pause, 3) for pause in pauses}) > 10
    assert watched(Far(), 300, probe=None)[0].models["far"].engine.looks == []


def test_silence_counts_only_where_nothing_is_at_work():
    def busy(made):
        made.models["far"].tally.inside = 1

    assert set(watched(Far(TimeoutError()), 60, busy)[1]) == {""}
    assert watched(Far(TimeoutError()), 60)[1][-1] == module.SILENT


def test_a_probe_that_breaks_ends_no_watch(caplog):
    assert len(watched(Far(KeyError("bug"), None), 60)[0].models["far"].engine.looks) > 2
    assert "a probe of far failed" in caplog.text


class Both:
    names = ("both",)

    async def decide(self, call):
        return Decision(("far", "near") if call.model == "both" else (call.model,), "test")


@pytest.mark.parametrize(
    ("name", "down", "wanted", "route"),
    [
        ("both", ("far",), "near", "near; test; not far"),
        ("both", ("far", "near"), "far", "far; test"),
        ("both", ("near",), "far", "far; test"),
        ("far", ("far",), "far", "far; test"),
    ],
)
def test_what_is_down_is_passed_over_where_another_is_in_line(name, down, wanted, route):
    async def work():
        made = gateway(Far())
        made.router = Both()
        for each in down:
            made.models[each].down = "cannot be reached"
        async with asyncio.timeout(5) as clock:
            call = parse(json.dumps({"model": name, "messages": [{"role": "user", "content": "Hi"}]}).encode())
            reply = await ask(made, call, clock)
        assert {each: model.engine.asked for each, model in made.models.items()} == {"far": 0, "near": 0} | {wanted: 1}
        assert (reply.headers["x-mlx-route"], reply.headers["x-mlx-tries"]) == (route, "1")

    asyncio.run(work())


def test_health_says_what_is_down_and_why():
    made = gateway(Far())
    made.models["far"].down = "answered 503"
    told = Health.of(made)
    assert told.status == made.state == "degraded"
    assert (told.models["far"].state, told.models["far"].why, told.models["near"].why) == ("down", "answered 503", None)
    made.models["near"].down = "answered 503"
    assert Health.of(made).status == "unavailable" and made.state == "down"


# --- real servers, real sockets ---


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(web, upstream, **urls):
    """A server before these addresses, looked for ten times a second."""
    models = {}
    for name, url in urls.items():
        kind = OllamaEngine(type="ollama", base_url=url, model="m", probe=0.1) if name == "ollama" else None
        settings = kind or OpenAIEngine(type="openai", url=url, model="m", probe=0.1, connect_timeout=0.5, retries=0, failures=1000)
        models[name] = Model(name, settings.open(None, name=name, max_new_tokens=None, log=Path("log")), settings)
    made = Gateway(models, type("Chain", (), {"names": ("all",), "decide": staticmethod(decided(models))})())
    control = Control(made, None, folder=Path("serve"), config=None, reread=lambda: None, lineage={})
    Path("serve").mkdir(exist_ok=True)
    with web.running(made, control=control) as address:
        yield address, lambda: web.ask(address, path="/health/ready", method="GET")[2]["models"]


def decided(models):
    async def decide(call):
        return Decision(tuple(models) if call.model == "all" else (call.model,), "test")

    return decide


def test_a_server_that_goes_and_comes_back_is_told_so_and_costs_no_question(web):
    port = free_port()
    away, ollama = f"http://127.0.0.1:{port}/v1", f"http://127.0.0.1:{free_port()}"
    with Faulty().running() as near, served(web, near, away=away, ollama=ollama, near=near.url) as (address, health):
        web.until(lambda: [health()[name]["state"] for name in ("away", "ollama", "near")] == ["down", "down", "ready"])
        assert health()["away"]["why"] == health()["ollama"]["why"] == "cannot be reached"
        status, headers, _ = web.ask(address, web.chat(model="all"))
        assert (status, headers["x-mlx-tries"]) == (200, "1") and headers["x-mlx-route"].startswith("near"), "nobody waits for what is down"
        metrics = counted(web.ask(address, path="/metrics", method="GET")[2])
        assert (metrics["mlx_model_up", "away"], metrics["mlx_model_state", "away", "down"], metrics["mlx_model_up", "near"]) == (0, 1, 1)
        assert web.ask(address, web.chat(model="away"))[0] == 503, "who asks for it by name is told what comes of it"
        asked = len(near.seen)
        with Faulty(port=port).running() as back:
            web.until(lambda: health()["away"]["state"] == "ready")
            assert web.ask(address, web.chat(model="all"))[1]["x-mlx-route"].startswith("away")
            assert (len(back.seen), len(near.seen)) == (1, asked), "a probe asks no model anything"


@pytest.mark.parametrize(
    ("status", "state"), [(200, "ready"), (401, "ready"), (404, "ready"), (500, "ready"), (502, "down"), (503, "down")]
)
def test_any_answer_but_that_of_a_proxy_without_a_server_says_that_it_is_there(web, status, state):
    with Faulty(health=status).running() as far, served(web, far, far=far.url) as (_, health):
        if state == "down":
            web.until(lambda: health()["far"]["state"] == "down")
            assert health()["far"]["why"] == f"answered {status}"
        else:
            web.until(lambda: far.looked >= 3)
            assert health()["far"]["state"] == "ready"
