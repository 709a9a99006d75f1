"""Several models behind one address: who is asked, who is asked next, and what a client is told."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.serve import serve
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access
from src.serve.engines.breaker import Breaker
from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.cache import Answers, Cache
from src.serve.gateway.decision import Decision
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model
from src.serve.parse import parse
from src.serve.reply import Reply

ANSWER = {"id": "a", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
ANSWER |= {"usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Far:
    """A server that does what `do` says with each request, and keeps what it got."""

    def __init__(self):
        self.got, self.headers, self.do, self.left = [], [], None, threading.Event()
        far = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.got = self.rfile.read(int(self.headers["content-length"]))
                far.got.append((self.path, self.got))
                far.headers.append(dict(self.headers))
                (far.do or Far.fine)(self, len(far.got))

            def log_message(self, *_):
                pass

            def reply(self, status, data, kind="application/json", **headers):
                self.send_response(status)
                for key, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def begin(self, data=EVENT):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.piece(data)

            def piece(self, data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def fine(self, number):
        if json.loads(self.got).get("stream"):
            self.begin(EVENT + END)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.reply(200, json.dumps(ANSWER).encode())

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def far():
    made = []

    def make(do=None):
        made.append(Far())
        made[-1].do = do
        return made[-1]

    yield make
    for each in made:
        each.close()


class Chain:
    """A router that always gives the same models."""

    names = ("auto",)

    def __init__(self, *to):
        self.to = to

    async def decide(self, call):
        return Decision(self.to, "a test")


@contextmanager
def behind(web, servers, *, router=None, guard=None, **settings):
    models = {}
    for name, server in servers.items():
        part = OpenAIEngine(type="openai", url=server.url, model=f"the-{name}", **settings)
        models[name] = Model(name, part.open(None, name=name, max_new_tokens=None, log=Path("log")), part)
    with web.running(Gateway(models, router), guard=guard) as address:
        yield address


def ask(web, address, model="a", **more):
    return web.ask(address, web.chat() | {"model": model} | more)


def test_the_named_model_is_asked_by_its_own_name_and_all_else_stays(web, far, monkeypatch):
    monkeypatch.setenv("FAR_KEY", "far-secret-1234567")
    one, two = far(), far()
    with behind(web, {"a": one, "b": two}, key_env="FAR_KEY") as address:
        status, headers, body = ask(web, address, "b", top_k=7, content=[1])
        assert status == 200 and body == ANSWER and headers["x-mlx-route"] == "b; asked" and headers["x-mlx-tries"] == "1"
        path, raw = two.got[0]
        assert path == "/v1/chat/completions" and not one.got
        assert json.loads(raw) == web.chat() | {"model": "the-b", "top_k": 7, "content": [1]}
        assert two.headers[0]["authorization"] == "Bearer far-secret-1234567" and "cookie" not in two.headers[0]
        assert [each["id"] for each in web.ask(address, path="/v1/models", method="GET")[2]["data"]] == ["a", "b"]
        assert ask(web, address, "c")[0] == 404
        assert web.ask(address, {"model": "a", "input": ["x", "y"]}, path="/v1/embeddings")[0] == 200
        assert web.ask(address, {"model": "a", "prompt": "x"}, path="/v1/completions")[0] == 200
        for bad in ({"model": "a"}, {"model": "a", "input": []}, {"model": "a", "input": [""]}, {"model": "a", "input": {"a": 1}}):
            assert web.ask(address, bad, path="/v1/embeddings")[0] == 400
        assert web.ask(address, {"model": "a", "prompt": ["x", "y"]}, path="/v1/completions")[0] == 400


def test_images_pass_to_models_elsewhere(web, far):
    one = far()
    image = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    with behind(web, {"a": one}) as address:
        assert ask(web, address, messages=[{"role": "user", "content": image}])[0] == 200
        assert json.loads(one.got[0][1])["messages"][0]["content"] == image


FAULTS = {
    "500": lambda self, number: self.reply(500, b'{"error":{"message":"key far-secret"}}'),
    "429": lambda self, number: self.reply(429, b"{}", retry_after="120"),
    "an HTML page": lambda self, number: self.reply(502, b"<html>", "text/html"),
    "a page as 200": lambda self, number: self.reply(200, b"<html>", "text/html"),
    "no JSON": lambda self, number: self.reply(200, b"{not"),
    "an error as 200": lambda self, number: self.reply(200, b'{"error": {"message": "far-secret"}}'),
    "a wrong key": lambda self, number: self.reply(401, b'{"error":{"message":"far-secret"}}'),
    "a redirect": lambda self, number: self.reply(302, b"", location="http://169.254.169.254/"),
    "a cut": lambda self, number: self.connection.close(),
    "silence": lambda self, number: time.sleep(3),
    "an empty stream": lambda self, number: (self.begin(b'data: {"error": {"message": "x"}}\n\n'), self.connection.close()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_before_the_first_byte_is_answered_by_the_next_model_or_told(web, far, fault):
    bad, good = far(FAULTS[fault]), far()
    settings = {"first_byte_timeout": 0.5, "retries": 0}
    with behind(web, {"a": bad, "b": good}, router=Chain("a", "b"), **settings) as address:
        status, headers, body = ask(web, address, "auto", stream=True)
        assert status == 200 and body.endswith("[DONE]\n\n") and "error" not in body, body
        assert headers["x-mlx-route"].startswith("b; a test") and headers["x-mlx-tries"] == "2" and len(good.got) == 1
    with behind(web, {"a": bad}, **settings) as address:
        status, headers, body = ask(web, address)
        assert status in (429, 502, 503, 504) and body["error"]["message"].startswith("a ") and "far-secret" not in json.dumps(body)
        assert status != 429 or headers["retry-after"] == "120"


def test_a_second_try_may_answer_and_what_is_the_clients_fault_is_not_tried_again(web, far):
    shy = far(lambda self, number: self.reply(503, b"{}") if number == 1 else Far.fine(self, number))
    strict = far(lambda self, number: self.reply(400, b'{"error":{"message":"too hard"}}'))
    with behind(web, {"a": shy, "b": strict}) as address:
        status, headers, _ = ask(web, address)
        assert status == 200 and headers["x-mlx-tries"] == "2" and len(shy.got) == 2
        assert ask(web, address, "b")[0::2] == (400, {"error": {"message": "too hard"}}) and len(strict.got) == 1


@pytest.mark.parametrize("how", ["cut", "silence", "end"])
def test_a_stream_that_breaks_ends_with_an_error_event(web, far, how):
    def broken(self, number):
        self.begin()
        if how == "end":
            self.piece(b": nothing more\n\n")
            self.wfile.write(b"0\r\n\r\n")
        elif how == "silence":
            time.sleep(2)
        self.close_connection = True

    one, other = far(broken), far()
    with behind(web, {"a": one, "b": other}, router=Chain("a", "b"), idle_timeout=0.4) as address:
        status, _, text = ask(web, address, "auto", stream=True)
        *events, last = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data")]
        assert status == 200 and "Hi" in events[0] and json.loads(last)["error"]["type"] == "server_error"
        assert not other.got, "an answer that had begun was begun again"


def test_a_client_that_leaves_ends_the_upstreams_work(web, far):
    left = []

    def endless(self, number):
        self.begin()
        try:
            while True:
                self.piece(EVENT)
                time.sleep(0.01)
        except OSError:
            left.append(time.monotonic())

    with behind(web, {"a": far(endless)}) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        connection.request("POST", "/v1/chat/completions", json.dumps(web.chat(stream=True) | {"model": "a"}))
        response = connection.getresponse()
        response.read(50)
        gone = time.monotonic()
        response.close()
        connection.close()
        web.until(lambda: left, 5)
        assert left[0] - gone < 0.5


def test_a_model_that_fails_too_often_is_left_alone(web, far):
    bad = far(FAULTS["500"])
    with behind(web, {"a": bad}, retries=0, failures=3, rest=30) as address:
        assert [ask(web, address)[0] for _ in range(5)] == [502, 502, 502, 503, 503] and len(bad.got) == 3
        assert web.ask(address, path="/health", method="GET")[2]["status"] == "resting"


def test_a_breaker_lets_one_try_after_its_rest():
    now = [0.0]
    breaker = Breaker(2, 10, lambda: now[0])
    breaker.failed()
    assert breaker.ask() == 0
    breaker.failed()
    assert breaker.ask() == 10
    now[0] = 11
    assert breaker.ask() == 0 and breaker.ask() == 10, "a second call tried as well"
    breaker.succeeded()
    assert breaker.ask() == 0
    breaker.failed(after=5)
    assert breaker.ask() == 5


def test_more_at_once_than_a_model_takes_go_elsewhere(web, far):
    slow, other = far(lambda self, number: (time.sleep(0.6), Far.fine(self, number))), far()
    with behind(web, {"a": slow, "b": other}, router=Chain("a", "b"), max_inflight=1) as address:
        threads = [threading.Thread(target=ask, args=(web, address, "auto")) for _ in range(3)]
        for each in threads:
            each.start()
            time.sleep(0.1)
        for each in threads:
            each.join()
        assert (len(slow.got), len(other.got)) == (1, 2)


def test_longest_answers_are_bound_where_that_is_set(web, far):
    one = far()
    with behind(web, {"a": one}, max_new_tokens=9) as address:
        for asked, sent in (({}, 9), ({"max_tokens": 4}, 4), ({"max_tokens": 99}, 9)):
            ask(web, address, **asked)
            assert json.loads(one.got[-1][1])["max_tokens"] == sent


def test_a_server_without_a_training_reads_none():
    Path("g.yaml").write_text('name: g\nserve: {engine: null, models: {a: {type: openai, url: "http://127.0.0.1:9/v1", model: m}}}\n')
    assert serve.inputs(serve.load("g.yaml")) == {} and serve.makers(serve.load("g.yaml")) == []
    with pytest.raises(MlxError, match="nothing makes the model"):
        serve(serve.load("g.yaml", "serve.engine.type=transformers"))
    for settings, words in (("serve.models=null", "models"), ("serve.model_name=a", "two models are called 'a'")):
        with pytest.raises(ConfigError, match=words):
            serve.load("g.yaml", settings)


def test_a_missing_key_is_told_before_anything_listens(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    part = OpenAIEngine(type="openai", url="http://127.0.0.1:9/v1", model="m", key_env="NO_SUCH_KEY")
    with pytest.raises(MlxError, match="NO_SUCH_KEY is not set"):
        part.open(None, name="a", max_new_tokens=None, log=Path("log"))


def test_engines_that_others_keep_are_looked_after(far):
    from src.serve.engines.watched import Watched
    from src.serve.request import UnavailableError

    async def story():
        engine = Watched("http://127.0.0.1:9", OpenAIEngine(type="openai", url="http://x/v1", model="m"), name="a")
        assert engine.state == "loading"
        with pytest.raises(UnavailableError):
            await engine.ask(None)
        running = asyncio.create_task(engine.run())
        await asyncio.sleep(0.3)
        assert engine.state == "loading"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await engine.stop()

    asyncio.run(story())


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_question_of_the_same_key_is_answered_from_the_cache(web, far, stream):
    def told(self, number):
        if stream:
            self.begin()
            self.piece(END)
            self.wfile.write(b"0\r\n\r\n")
        else:
            Far.fine(self, number)

    one = far(told)
    part = OpenAIEngine(type="openai", url=one.url, model="m")
    gateway = Gateway({"a": Model("a", part.open(None, name="a", max_new_tokens=None, log=Path("log")), part)})
    gateway.cache = Cache(mb=1).open()
    folder = Path("serve")
    keys = [Keys(folder).create(name=name, role="user", days=None)[1] for name in ("ann", "bob")]
    access = Access.model_validate({"roles": {"user": {"tokens_per_day": 100_000}}})
    with web.running(gateway, guard=open_guard(access, folder)) as address:

        def again(key=keys[0], extra=None, **more):
            status, headers, body = web.ask(
                address, web.chat(stream=stream) | {"model": "a"} | more, authorization=f"Bearer {key}", **(extra or {})
            )
            assert status == 200
            return headers["x-mlx-cache"], body

        first, second = again(), again()
        assert [first[0], second[0]] == ["miss", "hit"] and first[1] == second[1] and len(one.got) == 1
        assert again(keys[1])[0] == "miss" and again(seed=2)[0] == "miss" and again(extra={"cache_control": "no-cache"})[0] == "miss"
        assert web.ask(address, web.chat(temperature=1) | {"model": "a"}, authorization=f"Bearer {keys[0]}")[1].get("x-mlx-cache") is None
    assert (gateway.cache.hits, gateway.cache.misses) == (1, 4)
    spent = [json.loads(line) for path in Path("serve/audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    used = [line["completion_tokens"] for line in spent if line["event"] == "answer"]
    assert used[1] == 0, "an answer that was kept cost tokens"


def test_a_broken_answer_is_not_kept_and_old_ones_make_room(web, far):
    now = [0.0]
    answers = Answers(1000, 60, lambda: now[0])
    call = parse(b'{"model": "a", "messages": [{"role": "user", "content": "x"}], "temperature": 0}')
    key = answers.key(call, "a")
    for status, kept in ((400, 0), (200, 1)):
        answers.keep(key, Reply(status, {}, b"x" * 90))
        assert len(answers) == kept
    assert answers.find(key, call).body == b"x" * 90
    now[0] = 61
    assert answers.find(key, call) is None
    for number in range(20):
        answers.keep(bytes([number]), Reply(200, {}, b"x" * 90))
    assert answers.size <= 1000 and len(answers) == 11
    answers.keep(b"large", Reply(200, {}, b"x" * 101))
    assert len(answers) == 11

    async def broken():
        async def body():
            yield b"a"
            raise OSError

        reply = Reply(200, {}, body())
        answers.keep(b"broken", reply)
        with pytest.raises(OSError):
            async for _ in reply.body:
                pass

    asyncio.run(broken())
    assert answers.find(b"broken", call) is None
