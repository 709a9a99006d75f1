"""Copies of requests are counted, bounded, and never in the way."""

import asyncio
import json

import pytest

from src.serve.gateway.ask import ask
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.parse import parse
from src.serve.reply import Reply
from src.serve.request import CHAT, Call, UnavailableError
from src.serve.routing.router import Router
from src.serve.routing.settings import Routes, Shadows
from src.serve.routing.shadows import ShadowTraffic


class Scripted:
    """An engine that answers as it is told."""

    paths = frozenset((CHAT,))
    state = "ready"

    def __init__(self, wait=0.0, error=None, stream=False):
        self.wait, self.error, self.stream = wait, error, stream
        self.asked = []

    async def ask(self, call: Call) -> Reply:
        self.asked.append(call)
        await asyncio.sleep(self.wait)
        if self.error:
            raise self.error
        return Reply(200, {}, self.pieces()) if self.stream else Reply.of({})

    async def pieces(self):
        for _ in range(3):
            yield b"data: {}\n\n"


def gateway(engine, **shadows):
    made = Gateway({"fast": Model("fast", Scripted()), "new": Model("new", engine, system="Be new.")})
    made.router = Router(made.models, Routes.model_validate({"name": "router", "default": "fast", "shadow": {"fast": {"to": "new"}}}))
    made.shadows = ShadowTraffic(Shadows(**shadows))
    return made


async def asked(made, times=1):
    call = parse(json.dumps({"model": "router", "messages": [{"role": "user", "content": "Hi"}]}).encode())
    for _ in range(times):
        async with asyncio.timeout(5) as clock:
            reply = await ask(made, call, clock)
            await reply.close()
    assert reply.headers["x-mlx-route"] == "fast; default"


@pytest.mark.parametrize("stream", [False, True])
def test_a_copy_is_sent_and_its_answer_thrown_away(stream):
    async def work():
        made = gateway(Scripted(stream=stream))
        await asked(made)
        await asyncio.sleep(0.05)
        counts = made.shadows.counts["new"]
        assert (counts.sent, counts.answered, counts.failed, counts.left_out) == (1, 1, 0, 0)
        [copy] = made.models["new"].engine.asked
        assert copy.body["messages"][0] == {"role": "system", "content": "Be new."}
        assert "Be new." not in str(made.models["fast"].engine.asked[0].body)

    asyncio.run(work())


def test_a_slow_shadow_holds_up_nobody_and_few_are_sent():
    async def work():
        made = gateway(Scripted(wait=60), most=2)
        start = asyncio.get_running_loop().time()
        await asked(made, 10)
        assert asyncio.get_running_loop().time() - start < 1
        counts = made.shadows.counts["new"]
        assert (counts.sent, counts.left_out) == (2, 8)
        await made.shadows.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("engine", "timeout"), [(Scripted(error=UnavailableError(503, "no")), 9), (Scripted(wait=9), 0.02), (Scripted(error=KeyError()), 9)]
)
def test_what_fails_is_counted(engine, timeout):
    async def work():
        made = gateway(engine, timeout=timeout)
        await asked(made)
        await asyncio.sleep(0.1)
        counts = made.shadows.counts["new"]
        assert (counts.sent, counts.answered, counts.failed) == (1, 0, 1)

    asyncio.run(work())


def test_nothing_is_loaded_for_a_copy():
    class Full:
        def is_loaded(self, name):
            return False

        def hold(self, name):
            raise AssertionError("never")

    async def work():
        made = gateway(Scripted())
        made.residency = Full()
        call = parse(json.dumps({"model": "router", "messages": [{"role": "user", "content": "Hi"}]}).encode())
        made.shadows.send(made, "new", call)
        assert made.shadows.counts["new"].left_out == 1

    asyncio.run(work())
