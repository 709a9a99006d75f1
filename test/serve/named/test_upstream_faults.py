"""UPSTREAM FAULTS: each way an engine can fail, by its name: answered in time, by another engine or a clear error, never twice."""

import http.client
import json
import socket
import time
from pathlib import Path

import pytest

from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.decision import Decision
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

from .conftest import faulty

SAID = "".join(faulty.WORDS)
DEADLINE = 2.5  # seconds, with a first byte within 0.5 and pieces 0.4 apart


class Chain:
    """Asks the first model, then the second."""

    names = ("both",)

    async def decide(self, call):
        return Decision(("first", "second") if call.model == "both" else (call.model,), "test")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pair:
    """A gateway over an engine that fails and one that does not."""

    def __init__(self, web, first, second):
        self.web, self.first, self.second = web, first, second
        self.address = ""

    def ask(self, model="both", stream=False, **more):
        start = time.monotonic()
        status, headers, told = self.web.ask(self.address, self.web.chat(model=model, stream=stream, **more))
        self.seconds = time.monotonic() - start
        return status, headers, told


@pytest.fixture(scope="module")
def pair(web):
    with faulty.Faulty().running() as first, faulty.Faulty().running() as second:
        made = Pair(web, first, second)
        models = {}
        for name, url in (
            ("first", first.url),
            ("second", second.url),
            ("refused", f"http://127.0.0.1:{free_port()}/v1"),
            ("no_dns", "http://nowhere.invalid/v1"),
        ):
            part = OpenAIEngine(
                type="openai", url=url, model="m", retries=0, connect_timeout=0.5, first_byte_timeout=0.5, idle_timeout=0.4, failures=10_000
            )
            models[name] = Model(name, part.open(None, name=name, max_new_tokens=None, log=Path("log")), part)
        made.breakers = [model.engine.breaker for model in models.values()]
        with web.running(Gateway(models, Chain())) as address:
            made.address = address
            yield made


@pytest.fixture(autouse=True)
def well(pair):
    for each in (pair.first, pair.second):
        each.mood = "well"
        each.script.clear()
        each.seen.clear()
    for each in pair.breakers:
        each.succeeded()


BEFORE = [
    "silent", "head_then_silent", "cut_at_once", "too_many", "too_many_seconds", "too_many_date", "too_many_huge", "broken", "loading",
    "garbage", "html", "html_200", "error_200", "redirect", "drip",
]  # fmt: skip
"""Faults that show before a byte of the answer could be passed on."""
WHOLE_ONLY = ["not_json", "short_length", "cut", "half_then_silent"]
"""Faults of an answer that comes whole: it is read to its end first, so nothing of it was passed on either."""
CASES = [*((mood, stream) for mood in BEFORE for stream in (False, True)), *((mood, False) for mood in WHOLE_ONLY)]


def text(told):
    if isinstance(told, dict):
        return told["choices"][0]["message"]["content"]
    events = [json.loads(line[5:]) for line in told.splitlines() if line.startswith("data:") and "[DONE]" not in line]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", []))


@pytest.mark.parametrize(("mood", "stream"), CASES)
def test_fault_before_the_answer_another_engine_answers(pair, mood, stream):
    pair.first.mood = mood
    status, headers, told = pair.ask(stream=stream)
    assert status == 200 and text(told) == SAID and pair.seconds < DEADLINE, (told, pair.seconds)
    assert headers["x-mlx-route"].startswith("second") and headers["x-mlx-tries"] == "2"
    assert (len(pair.first.seen), len(pair.second.seen)) == (1, 1), "lost or doubled"


@pytest.mark.parametrize(("mood", "stream"), CASES)
def test_fault_before_the_answer_without_another_engine_is_a_clear_error(pair, mood, stream):
    pair.first.mood = mood
    status, headers, told = pair.ask("first", stream=stream)
    assert status in (429, 502, 503, 504) and pair.seconds < DEADLINE, (status, pair.seconds)
    assert headers["content-type"].startswith("application/json") and told["error"]["message"].startswith("first ")
    assert not any(word in json.dumps(told) for word in ("secret inside", "Traceback", "169.254", "127.0.0.1", "<html"))
    assert len(pair.first.seen) == 1


@pytest.mark.parametrize("name", ["refused", "no_dns"])
@pytest.mark.parametrize("stream", [False, True])
def test_engine_that_is_not_there(pair, name, stream):
    status, headers, told = pair.ask(name, stream=stream)
    assert status in (502, 503) and pair.seconds < DEADLINE and told["error"]["code"] and headers["retry-after"]


RETRY = {"too_many": None, "too_many_seconds": 1, "too_many_date": 2, "too_many_huge": None}


@pytest.mark.parametrize("mood", RETRY)
def test_retry_after_is_handed_on_and_never_absurd(pair, mood):
    pair.first.mood = mood
    status, headers, _ = pair.ask("first")
    assert status == 429
    if RETRY[mood]:
        assert abs(int(headers["retry-after"]) - RETRY[mood]) <= 1
    else:
        assert 0 < int(headers.get("retry-after", 1)) <= 86_400


@pytest.mark.parametrize("mood", ["cut", "half_then_silent", "error_amid"])
def test_fault_amid_a_stream_ends_it_with_an_error_and_asks_nobody_else(pair, mood):
    pair.first.mood = mood
    status, _, told = pair.ask(stream=True)
    assert status == 200 and pair.seconds < 2 * DEADLINE
    assert '"error"' in told and "[DONE]" not in told, told[-300:]
    last = [line for line in told.splitlines() if line.startswith("data:")][-1]
    assert json.loads(last[5:])["error"]["message"]
    assert not pair.second.seen, "a second engine after the first byte tells the client things twice"


def test_stream_without_done_is_ended_properly(pair):
    pair.first.mood = "no_done"
    status, _, told = pair.ask("first", stream=True)
    assert status == 200 and text(told) == SAID
    assert told.rstrip().endswith("data: [DONE]"), "a client would wait, or take it for cut off"


@pytest.mark.parametrize("mood", ["split_utf8", "crlf", "no_space", "comments", "closes"])
@pytest.mark.parametrize("told", [False, True])
def test_odd_stream_arrives_whole(pair, mood, told):
    pair.first.mood = mood
    status, _, answer = pair.ask("first", stream=True, stream_options={"include_usage": told})
    assert status == 200 and text(answer.replace("\r", "")) == SAID
    assert answer.rstrip().endswith("[DONE]")


def test_tool_call_in_fragments_arrives_whole(pair):
    pair.first.mood = "fragmented_tools"
    answer = pair.ask("first", stream=True)[2]
    events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    parts = [
        call["function"]["arguments"] for event in events for choice in event["choices"] for call in choice["delta"].get("tool_calls", [])
    ]
    assert json.loads("".join(parts)) == {"state": "on"}


def test_huge_event_passes_and_memory_stays(pair):
    pair.first.mood = "huge_event"
    answer = pair.ask("first", stream=True)[2]
    assert len(answer) > 3_000_000 and text(answer).endswith(SAID)


def test_empty_choices_pass_as_they_are(pair):
    pair.first.mood = "empty_choices"
    status, _, told = pair.ask("first")
    assert status == 200 and told["choices"] == []


def test_compressed_answer_is_never_passed_on_as_if_it_were_none(pair):
    pair.first.mood = "gzipped"
    status, headers, told = pair.ask()
    assert status == 200 and (text(told) == SAID)
    assert headers.get("content-encoding") is None


def test_model_that_vanished_is_told(pair):
    pair.first.mood = "vanished"
    status, _, told = pair.ask("first")
    assert status in (404, 502, 503) and told["error"]["message"]


def test_broken_once_then_well_is_tried_again(web):
    with faulty.Faulty(script=["broken", "cut_at_once"]).running() as upstream:
        part = OpenAIEngine(type="openai", url=upstream.url, model="m", retries=2)
        engine = part.open(None, name="keeper", max_new_tokens=None, log=Path("log"))
        with web.running(Gateway({"keeper": Model("keeper", engine, part)})) as address:
            status, headers, told = web.ask(address, web.chat())
            assert (status, text(told), headers["x-mlx-tries"]) == (200, SAID, "3")
            assert len(upstream.seen) == 3


def test_connection_that_the_engine_closed_meanwhile_costs_no_request(pair):
    for _ in range(5):
        pair.first.mood = "closes"
        assert pair.ask("first")[0] == 200
        time.sleep(0.05)
    assert len(pair.first.seen) == 5


def test_engine_that_fails_again_and_again_is_left_alone(web):
    with faulty.Faulty(mood="broken").running() as upstream:
        part = OpenAIEngine(type="openai", url=upstream.url, model="m", retries=0, failures=3, rest=0.5)
        engine = part.open(None, name="keeper", max_new_tokens=None, log=Path("log"))
        with web.running(Gateway({"keeper": Model("keeper", engine, part)})) as address:
            for _ in range(10):
                assert web.ask(address, web.chat())[0] in (502, 503)
            assert len(upstream.seen) == 3
            upstream.mood = "well"
            time.sleep(0.6)
            assert web.ask(address, web.chat())[0] == 200


def test_client_that_leaves_is_left_by_the_engine_within_half_a_second(pair):
    for mood, stream in (("silent", False), ("ticking", True)):
        pair.first.mood = mood
        left = pair.first.left
        connection = http.client.HTTPConnection(pair.address.removeprefix("http://"), timeout=10)
        body = json.dumps(pair.web.chat(model="first", stream=stream))
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        if stream:
            connection.getresponse().read(30)
        else:
            time.sleep(0.2)
        gone = time.monotonic()
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        pair.web.until(lambda left=left: pair.first.left > left, 3)
        assert pair.first.left_at - gone < 0.5


def test_nothing_is_asked_of_where_a_redirect_points(pair):
    pair.first.mood = "redirect"
    assert pair.ask("first")[0] == 502 and pair.seconds < 1


def test_event_without_end_is_not_held_for_ever(pair, monkeypatch):
    from src.serve.engines import stream

    monkeypatch.setattr(stream, "LARGEST", 4_000_000)
    pair.first.mood = "endless_event"
    status, _, told = pair.ask("first", stream=True)
    assert status == 502 and "event without end" in told["error"]["message"]


def test_more_than_was_declared_is_nobodys_answer(pair):
    """wrong content-length, upwards: what comes too much is thrown away with its connection, and no question is answered by it."""
    for mood in ("extra_bytes", "well", "extra_bytes", "extra_bytes", "well", "well"):
        pair.first.mood = mood
        status, _, told = pair.ask("first")
        assert (status, text(told)) == (200, SAID) and pair.seconds < 1, (mood, pair.seconds)
    assert len(pair.first.seen) == 6


@pytest.mark.parametrize(("mood", "stream"), [("until_the_end", False), ("until_the_end", True), ("continues", False), ("continues", True)])
def test_odd_framing_arrives_whole(pair, mood, stream):
    for _ in range(2):
        pair.first.mood = mood
        status, _, told = pair.ask("first", stream=stream)
        assert status == 200 and text(told) == SAID and pair.seconds < 1


def test_headers_without_end_are_given_up(pair):
    pair.first.mood = "endless_head"
    assert pair.ask("first")[0] == 503 and pair.seconds < DEADLINE
