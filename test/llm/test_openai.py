import socket
import threading
import time

import pytest
from pydantic import TypeAdapter, ValidationError

from src.core.errors import MlxError
from src.llm.backend import Backend
from src.llm.client import BackendError, Usage
from src.llm.openai import OpenAIBackend, is_loopback

ASK = [{"role": "user", "content": "how is it?"}]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def backend(server, **settings):
    return OpenAIBackend(model="m", base_url=server.url, **{"max_retries": 1, "timeout": 20, **settings})


def ask(backend, **settings):
    with backend.open() as client:
        return client.chat(ASK, **{"max_tokens": 5, **settings})


def fails(backend):
    with pytest.raises(BackendError) as found:
        ask(backend)
    return found.value


def test_an_answer_comes_with_its_tokens(server, answer):
    server.answers = lambda body, number: (200, answer.completion(" positive\n"))
    reply = ask(backend(server), seed=3)
    assert (reply.text, reply.usage, reply.finish) == (" positive\n", Usage(7, 1), "stop")
    assert server.asked == [{"model": "m", "messages": ASK, "max_tokens": 5, "temperature": 0, "seed": 3}]
    assert server.paths == ["/v1/chat/completions"]


def test_what_is_not_said_is_not_sent(server, answer):
    server.answers = lambda body, number: (200, answer.completion(None, finish="length", usage=None))
    reply = ask(backend(server), temperature=None)
    assert (reply.text, reply.usage, reply.finish) == ("", Usage(0, 0), "length")
    assert server.asked == [{"model": "m", "messages": ASK, "max_tokens": 5}]


def test_a_server_on_this_machine_needs_no_key_but_gets_the_one_there_is(server, monkeypatch):
    ask(backend(server))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-123456")
    ask(backend(server))
    ask(backend(server, api_key_env=None))
    assert server.keys == ["Bearer none", "Bearer sk-123456", "Bearer none"]


def test_a_proxy_is_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert ask(backend(server)).text == "positive"


def test_elsewhere_the_key_has_to_be_there(monkeypatch):
    part = OpenAIBackend(model="m", base_url="https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY")
    with pytest.raises(MlxError, match="OPENROUTER_API_KEY is not set: the key for https://openrouter"):
        part.open()
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-123456")
    part.open().close()
    OpenAIBackend(model="m", base_url="http://gpu-box:8000/v1", api_key_env=None).open().close()


def test_openai_itself_gets_the_name_its_models_want(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-123456")
    with OpenAIBackend(model="m").open() as client:
        assert client.longest == "max_completion_tokens"


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        error = fails(OpenAIBackend(model="m", base_url=url, max_retries=0))
    assert "cannot be reached" in str(error)
    assert "start the server" in error.hint
    assert error.final


@pytest.mark.parametrize(
    ("status", "code", "words", "hint", "final"),
    [
        (400, None, "refused: .*400.*: so it is", "", False),
        (401, None, "the key is refused: .*so it is", "OPENAI_API_KEY in .env", True),
        (402, None, "nothing left to pay with", "add credit", True),
        (403, None, "refused: .*403", "", False),
        (404, None, "no model 'm': .*so it is", "mend `model`", True),
        (429, None, "too many calls", "lower `concurrency`", False),
        (429, "insufficient_quota", "nothing left to pay with", "add credit", True),
        (500, None, "refused: .*500.*: so it is", "", False),
    ],
)
def test_a_refusal_says_what_to_do(server, answer, status, code, words, hint, final):
    server.answers = lambda body, number: (status, answer.refusal("so it is", code))
    with pytest.raises(BackendError, match=words) as found:
        ask(backend(server))
    assert hint in found.value.hint
    assert found.value.final is final


def test_a_busy_server_is_asked_again(server, answer):
    server.answers = lambda body, number: (
        429 if number < 3 else 200,
        answer.completion("at last") if number == 3 else answer.refusal("wait"),
    )
    assert ask(backend(server, max_retries=2)).text == "at last"
    assert len(server.asked) == 3


@pytest.mark.parametrize("body", ["<html>welcome</html>", "{broken", "{}", '{"choices": []}', "null", '"text"', '{"choices": [{}]}', "[1]"])
def test_garbage_is_an_error_of_its_call(server, body):
    server.answers = lambda _, number: (200, body)
    error = fails(backend(server))
    assert "the answer" in str(error)
    assert not error.final


def test_a_broken_answer_page_is_shown_shortly(server):
    server.answers = lambda body, number: (502, "<html>" + "bad gateway " * 100)
    assert 20 < len(str(fails(backend(server)))) < 400


def test_a_secret_in_an_error_is_masked(server, answer, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-123456")
    server.answers = lambda body, number: (401, answer.refusal("bad key sk-123456"))
    error = fails(backend(server))
    assert "sk-123456" not in str(error)


def test_a_slow_server(server, answer):
    release = threading.Event()
    server.answers = lambda body, number: (200, answer.completion(str(release.wait(5))))
    start = time.perf_counter()
    error = fails(backend(server, timeout=0.2, max_retries=0))
    release.set()
    assert "no answer in time (timeout: 0.2 s)" in str(error)
    assert time.perf_counter() - start < 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"type": "openai", "model": "m", "base_url": "localhost:8000"}, "is no address such as"),
        ({"type": "openai", "model": "m", "base_url": "https://me:pw@host/v1"}, "it comes from the environment"),
        ({"type": "openai", "model": ""}, "at least 1 character"),
        ({"type": "openai", "model": "m", "api_key": "sk-1"}, "Extra inputs"),
        ({"type": "bedrock"}, "bedrock"),
    ],
)
def test_settings_that_cannot_be_meant(settings, words):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(Backend).validate_python(settings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.2/", True),
        ("http://[::1]:8/v1", True),
        ("http://a.localhost", True),
        ("http://192.168.0.2/v1", False),
        ("https://api.openai.com/v1", False),
        ("http://localhost.example", False),
    ],
)
def test_which_addresses_are_on_this_machine(url, expected):
    assert is_loopback(url) is expected
