"""Servers that count a prompt's tokens are asked where the limit is near, and only then."""

import asyncio
import json

import pytest

from src.serve.engines.counting import NEVER, REST, Counting
from src.serve.engines.part import ModelPart
from src.serve.gateway.model import Model
from src.serve.parse import parse
from src.serve.request import COMPLETIONS, UnavailableError
from src.serve.routing.budget import Budget
from src.serve.routing.estimate import estimate

VLLM = {"/tokenize": lambda body: {"count": 7, "tokens": [1] * 7} if "messages" in body or "prompt" in body else {"tokens": []}}
LLAMA = {
    "/apply-template": lambda body: {"prompt": "".join(each["content"] for each in body["messages"])},
    "/tokenize": lambda body: {"tokens": list(body.get("content", ""))},
}
TALK = {"model": "m", "messages": [{"role": "user", "content": "lamp"}], "tools": [], "temperature": 0}


class Server:
    """Answers at these paths, and notes what it was asked."""

    def __init__(self, paths, status=200):
        self.paths, self.status, self.asked, self.now = paths, status, [], 0.0
        self.counting = Counting(self.post, clock=lambda: self.now)

    async def post(self, path, body):
        self.asked.append((path, body))
        if self.paths is None:
            raise TimeoutError
        if path not in self.paths:
            return 404, b'{"detail":"Not Found"}'
        return self.status, json.dumps(self.paths[path](body)).encode()

    def count(self, body=TALK, path=None):
        return asyncio.run(self.counting.count(parse(json.dumps(body).encode(), *([path] if path else [])), "theirs"))


def test_vllm_counts_messages_and_tools_in_one_question():
    server = Server(VLLM)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert server.count({**TALK, "tools": tools}) == 7
    assert server.asked == [("/tokenize", {"model": "theirs", "messages": TALK["messages"], "tools": tools, "add_generation_prompt": True})]
    assert server.count({"model": "m", "prompt": "x"}, COMPLETIONS) == 7


def test_llama_renders_and_then_counts_and_is_known_from_then_on():
    server = Server(LLAMA)
    assert server.count() == 4
    assert [path for path, _ in server.asked] == ["/tokenize", "/apply-template", "/tokenize"]
    assert server.count() == 4 and len(server.asked) == 5
    assert server.asked[-1][1] == {"model": "theirs", "content": "lamp", "add_special": True, "parse_special": True}
    assert server.count({"model": "m", "prompt": "abc"}, COMPLETIONS) == 3


@pytest.mark.parametrize(
    ("paths", "status", "rest"),
    [
        ({}, 200, NEVER),
        (None, 200, REST),
        (LLAMA, 503, REST),
        ({"/tokenize": lambda body: [1]}, 200, NEVER),
        ({"/apply-template": lambda body: {"prompt": 3}}, 200, NEVER),
    ],
)
def test_one_that_cannot_count_is_left_alone_for_a_while(paths, status, rest):
    server = Server(paths, status)
    assert server.count() is None
    asked = len(server.asked)
    server.now = rest - 1
    assert server.count() is None and len(server.asked) == asked
    server.now, server.paths, server.status = rest + 1, VLLM, 200
    assert server.count() == 7


def test_a_prompt_that_one_refuses_says_nothing_about_the_next():
    server = Server(dict(VLLM))
    assert server.count() == 7
    server.status = 400
    assert server.count() is None
    server.status = 200
    assert server.count() == 7


class Engine:
    def __init__(self, count):
        self.found, self.calls = count, []

    async def count(self, call):
        self.calls.append(call)
        return self.found(call) if callable(self.found) else self.found


def fit(body, context, engine, **more):
    model = Model("fast", engine, ModelPart(context=context, **more))
    return asyncio.run(Budget().fit(parse(json.dumps(body).encode()), model))


def talk(words, **more):
    return {"model": "fast", "messages": [{"role": "user", "content": "lamp " * words}], "max_tokens": 10, **more}


def test_the_engine_is_asked_only_where_the_limit_is_near():
    body, engine = talk(600), Engine(601)
    guess = estimate(body)
    assert fit(body, 100_000, engine)[1] == {} and not engine.calls
    _, told = fit(body, guess * 2 + 20, engine)
    assert told == {"x-mlx-tokens": f"{guess}; estimated"} and not engine.calls
    call, told = fit(body, guess + 20, engine)
    assert told == {"x-mlx-tokens": "601"} and call.exact and len(engine.calls) == 1
    call, told = fit(body, 611, engine)
    assert told == {"x-mlx-tokens": "601"}, "sent, for it fits to the token"
    with pytest.raises(UnavailableError, match="the prompt has 601 tokens, and 10 are kept"):
        fit(body, 610, engine)


def test_where_it_does_not_say_the_estimate_holds_and_is_marked():
    body = talk(600)
    guess = estimate(body)
    assert fit(body, guess + 20, Engine(None))[1] == {"x-mlx-tokens": f"{guess}; estimated"}
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    engine = Engine(1)
    assert "estimated" in fit({**body, "messages": [*body["messages"], picture]}, 4000, engine)[1]["x-mlx-tokens"] and not engine.calls


def test_what_is_left_out_is_counted_exactly_too():
    turns = [{"role": role, "content": "lamp " * 50} for _ in range(6) for role in ("user", "assistant")]
    body = talk(50) | {"messages": [*turns, {"role": "user", "content": "lamp " * 50}]}
    engine = Engine(lambda call: 50 * len(call.body["messages"]))
    call, told = fit(body, 10 + 50 * 9, engine, too_long="trim")
    assert told == {"x-mlx-trimmed": "4 of 13 messages", "x-mlx-tokens": "450"} and len(call.body["messages"]) == 9
