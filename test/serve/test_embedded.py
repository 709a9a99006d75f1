"""The queue of the embedded engine, clients that leave, models that break."""

import http.client
import json
import threading
import time

import pytest

from src.models.generate import Completion
from src.serve.embedded import Embedded


class Slow:
    """A model that writes until it is stopped."""

    def __init__(self, *, breaks: int | None = None, words: str = "secret inside: /root/key") -> None:
        self.words = words
        self.steps = 0
        self.closed = threading.Event()
        self.breaks = breaks

    def prompt(self, request):
        return [1, 2, 3]

    def stream(self, prompt, fields):
        try:
            while True:
                if self.steps == self.breaks:
                    raise RuntimeError(self.words)
                time.sleep(0.01)
                self.steps += 1
                yield "word "
        finally:
            self.closed.set()


@pytest.fixture
def sent(web):
    """Send a request and hang on."""
    open_connections = []

    def send(address, **more):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/chat/completions", json.dumps(web.chat(**more)), {"content-type": "application/json"})
        open_connections.append(connection)
        return connection

    yield send
    for connection in open_connections:
        connection.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_work(web, sent, stream):
    model = Slow()
    with web.running(Embedded(lambda: model, name="keeper", queue=1)) as address:
        connection = sent(address, stream=stream)
        web.until(lambda: model.steps > 5)
        connection.close()
        assert model.closed.wait(1)


def test_a_client_that_leaves_the_queue_is_forgotten_and_a_full_queue_says_when_to_come_back(web, sent):
    model = Slow()
    engine = Embedded(lambda: model, name="keeper", queue=1)
    with web.running(engine) as address:
        first = sent(address, stream=True)
        web.until(lambda: model.steps > 0)
        second = sent(address)
        web.until(lambda: engine._inside == 2)
        status, headers, body = web.ask(address, web.chat())
        assert status == 503 and headers["retry-after"] == "2" and body["error"]["code"] == "overloaded"
        second.close()
        web.until(lambda: engine._inside == 1)
        first.close()
        web.until(lambda: engine._inside == 0)


def test_a_broken_model_shows_a_client_nothing_of_itself(web, caplog):
    with web.running(Embedded(lambda: Slow(breaks=0), name="keeper", queue=1)) as address:
        status, _, body = web.ask(address, web.chat())
        assert status == 500 and body["error"]["type"] == "server_error" and "secret" not in json.dumps(body)
        assert "secret inside" in caplog.text


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate 2.00 GiB", "DefaultCPUAllocator: can't allocate memory"])
def test_a_model_that_runs_out_of_memory_says_so_and_goes_on(web, caplog, words):
    model = Slow(breaks=0, words=words)
    with web.running(Embedded(lambda: model, name="keeper", queue=1)) as address:
        status, headers, body = web.ask(address, web.chat())
        assert (status, body["error"]["code"], headers["retry-after"]) == (503, "out_of_memory", "2") and "allocat" not in str(body)
        assert words in caplog.text and web.ask(address, path="/health", method="GET")[0] == 200


def test_a_model_that_breaks_within_a_stream_ends_it_with_an_error(web, caplog):
    with web.running(Embedded(lambda: Slow(breaks=3), name="keeper", queue=1)) as address:
        status, _, text = web.ask(address, web.chat(stream=True))
        last = json.loads(text.rstrip().split("\n\n")[-1].removeprefix("data: "))
        assert status == 200 and last["error"]["code"] == "internal_error" and "[DONE]" not in text


def test_while_it_loads_clients_are_told_so(web):
    loaded = threading.Event()

    def load():
        loaded.wait(20)
        return Slow()

    with web.running(Embedded(load, name="keeper", queue=1)) as address:
        assert web.ask(address, path="/health", method="GET")[0::2] == (503, {"status": "loading", "model": "keeper"})
        status, headers, body = web.ask(address, web.chat())
        assert status == 503 and headers["retry-after"] and body["error"]["code"] == "model_loading"
        loaded.set()
        web.until(lambda: web.ask(address, path="/health", method="GET")[0] == 200)


def test_a_model_that_cannot_be_loaded_is_told_to_who_started_it(web):
    failures = []

    def load():
        raise OSError("no such model")

    with web.running(Embedded(load, name="keeper", queue=1), failed=failures.append) as address:
        web.until(lambda: failures)
        assert str(failures[0]) == "no such model"
        assert web.ask(address, path="/health", method="GET")[2]["status"] == "failed"


def test_text_in_words_of_a_scripted_model_arrives_as_it_is_made(web, sent):
    class Timed(Slow):
        def stream(self, prompt, fields):
            for word in ("one ", "two"):
                yield word
                time.sleep(0.3)
            return Completion("one two", [1, 2], "length", 2)

    with web.running(Embedded(Timed, name="keeper", queue=1)) as address:
        response = sent(address, stream=True).getresponse()
        arrived = [(time.monotonic(), line) for line in response if b"content" in line]
        assert arrived[-1][0] - arrived[1][0] > 0.2


def test_a_bug_in_another_route_is_500_in_the_same_form(web, capfd):
    class Odd(Embedded):
        state = property(lambda self: 1 / 0, lambda self, value: None)

    with web.running(Odd(Slow, name="keeper", queue=1)) as address:
        status, _, body = web.ask(address, path="/health", method="GET")
        assert status == 500 and body["error"]["code"] == "internal_error" and "Zero" not in json.dumps(body)


def test_a_model_on_demand_is_loaded_and_let_go(web, trained_folder):
    from src.serve.engines.transformers import TransformersEngine
    from src.serve.gateway.gateway import Gateway
    from src.serve.gateway.model import Model
    from src.serve.routing.residency import Residency
    from src.serve.routing.room import Need
    from src.serve.routing.settings import Budgets

    engines = {}
    for name in ("one", "two"):
        engines[name] = TransformersEngine(device="cpu", model=trained_folder).open(None, name=name, max_new_tokens=50, log=None)
        engines[name].on_demand = True
    needs = dict.fromkeys(engines, Need(0, 1))

    async def load(name):
        assert not any([await engine.look() for engine in engines.values()])
        await engines[name].load()

    residency = Residency(needs, Budgets(ram_gb=1.5, linger=0), load, lambda name: engines[name].unload())
    gateway = Gateway({name: Model(name, engine, system=web.system) for name, engine in engines.items()}, residency=residency)
    with web.running(gateway) as address:
        for name in ("one", "two", "one"):
            status, _, body = web.ask(address, {**web.chat(), "model": name})
            assert status == 200
            assert body["choices"][0]["message"]["content"] == web.greeted
    assert residency.swaps == 2
