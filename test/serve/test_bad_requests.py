"""Whatever a client sends, it is told what is wrong with it, in OpenAI's form."""

import json
import socket
import sys

import pytest

SURROGATE = b'{"model":"keeper","messages":[{"role":"user","content":"\\ud800"}]}'


def deep(levels: int) -> bytes:
    return b'{"model":"keeper","messages":' + b"[" * levels + b"]" * levels + b"}"


RAW = {
    "not JSON": (b'{"model": "keeper", ', 400, "not valid JSON"),
    "nothing": (b"", 400, "not valid JSON"),
    "a list": (b"[]", 400, "JSON object"),
    "null": (b"null", 400, "JSON object"),
    "NaN": (b'{"model":"keeper","messages":[{"role":"user","content":"a"}],"temperature":NaN}', 400, "NaN"),
    "infinity": (b'{"model":"keeper","messages":[{"role":"user","content":"a"}],"temperature":1e400}', 400, "too large"),
    "a huge integer": (b'{"model":"keeper","messages":[{"role":"user","content":"a"}],"seed":1' + b"0" * 5000 + b"}", 400, "JSON"),
    "nested 900 deep": (deep(900), 400, "nested deeper"),
    "nested 40,000 deep": (deep(40_000), 400, "nested deeper"),
    "a lone surrogate": (SURROGATE, 400, "surrogate"),
    "a lone surrogate as key": (b'{"model":"keeper","messages":[{"role":"user","content":"a"}],"\\udfff":1}', 400, "surrogate"),
    "Latin-1": ('{"model":"keeper","messages":[{"role":"user","content":"\xe9"}]}'.encode("latin-1"), 400, "UTF-8"),
    "UTF-16": ('{"model":"keeper","messages":[{"role":"user","content":"a"}]}'.encode("utf-16"), 400, "UTF-8"),
}


@pytest.mark.parametrize("name", RAW)
def test_bodies_that_are_no_request(web, keeper, name):
    raw, wanted, words = RAW[name]
    status, _, body = web.ask(keeper, raw=raw)
    assert status == wanted and words in body["error"]["message"], body
    assert body["error"]["type"] == "invalid_request_error"


def called(arguments: str):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [call]}, USER]}


USER = {"role": "user", "content": "Hello"}
FIELDS = [
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": ["Hello"]}, "messages.0"),
    ({"messages": [{"role": "user"}]}, "messages.0"),
    ({"messages": [{"role": "king", "content": "a"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/"}}]}]}, "text alone"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}, "text alone"),
    ({"messages": [{"role": "user", "content": ["a"]}]}, "text alone"),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        "messages.1.tool_calls.0.function.arguments",
    ),
    ({"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]}, "arguments"),
    (called('{"a": "\\ud800"}'), "surrogate"),
    (called('{"a":' * 200 + "1" + "}" * 200), "nested deeper"),
    # Python 3.13 reads what older ones refuse to, and it is refused for its depth
    (called('{"a":' * 9000 + "1" + "}" * 9000), "arguments" if sys.version_info < (3, 13) else "nested deeper"),
    (called('{"a": NaN}'), "arguments"),
    ({"model": 5}, "model"),
    ({"model": None}, "model"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_completion_tokens": -5}, "max_completion_tokens"),
    ({"seed": 1.5}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"n": 2}, "n has to be 1"),
    ({"n": 0}, "n has to be 1"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"tools": [{"type": "retrieval"}]}, "tools.0"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}, "tools.0.function.parameters"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}] * 129}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"logprobs": True}, "logprobs"),
    ({"top_k": 5}, "top_k"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
]


@pytest.mark.parametrize(("change", "words"), FIELDS, ids=lambda value: str(value)[:50])
def test_fields_that_cannot_be_met_are_named(web, keeper, change, words):
    status, _, body = web.ask(keeper, web.chat(max_tokens=2) | change)
    assert status == 400 and words in body["error"]["message"], body


def test_what_asks_for_nothing_is_let_pass(web, keeper):
    idle = {"n": 1, "user": "u", "logprobs": False, "frequency_penalty": 0, "response_format": {"type": "text"}, "tools": [], "stop": None}
    assert web.ask(keeper, web.chat(max_tokens=2) | idle)[0] == 200


@pytest.mark.parametrize("model", ["gpt-5", "../../etc/passwd", "keeper\r\nx: y", "", "keeper "])
def test_an_unknown_model_is_404(web, keeper, model):
    status, headers, body = web.ask(keeper, web.chat() | {"model": model})
    assert status == 404 and body["error"]["code"] == "model_not_found" and "x" not in headers


def test_a_prompt_without_room_for_an_answer_is_told_its_length(web, keeper):
    status, _, body = web.ask(keeper, web.chat("lamp " * 500))
    assert status == 400 and body["error"]["code"] == "context_length_exceeded"
    assert "256" in body["error"]["message"] and "tokens" in body["error"]["message"]


def test_a_large_body_is_refused_before_it_is_read(web, keeper):
    status, _, body = web.ask(keeper, raw=b"x" * 3_000_000)
    assert status == 413 and "100,000 bytes" in body["error"]["message"]
    assert web.ask(keeper, web.chat(max_tokens=1))[0] == 200


def test_a_large_body_of_undeclared_length_is_refused(keeper):
    host, port = keeper.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        client.sendall(head.encode())
        for _ in range(15):
            client.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        assert b" 413 " in client.recv(200)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/chat/completions", "GET", 405), ("/v1/completions", "POST", 404), ("/docs", "GET", 404), ("/openapi.json", "GET", 404)],
)
def test_other_doors_are_shut(web, keeper, path, method, status):
    found, _, body = web.ask(keeper, path=path, method=method)
    assert found == status and body["error"]["message"]


def test_a_form_is_no_request(web, keeper):
    status, _, body = web.ask(keeper, web.chat(), content_type="text/plain")
    assert status == 415 and "application/json" in body["error"]["message"]


def test_only_known_host_names_are_answered(web, keeper, trained_folder):
    from src.models.trained import Trained
    from src.serve.engines.transformers import TransformersEngine

    engine = TransformersEngine(device="cpu").open(Trained.of(trained_folder), name="keeper", max_new_tokens=50, log=trained_folder)
    with web.running(engine, hosts=frozenset({"127.0.0.1", "localhost", "[::1]"})) as address:
        for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:9", 200), ("LOCALHOST", 200), ("", 403)):
            assert web.ask(address, path="/v1/models", method="GET", host=host)[0] == status, host


def test_errors_tell_nothing_of_the_inside(web, keeper):
    answers = [web.ask(keeper, raw=raw)[2] for raw, _, _ in RAW.values()]
    assert not any(word in json.dumps(answers) for word in ("Traceback", "/src/", ".py", "site-packages"))


def test_a_client_that_leaves_before_it_has_spoken_is_let_go(web, keeper, caplog):
    caplog.set_level("INFO")
    host, port = keeper.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    web.until(lambda: "left by the client" in caplog.text)


def test_messages_that_the_template_refuses_are_the_clients_fault(trained_folder):
    from src.core.errors import MlxError
    from src.models.trained import Trained
    from src.serve.local import Local
    from src.serve.parse import parse
    from src.serve.request import RequestError

    local = Local.of(Trained.of(trained_folder), limit=5, device="cpu")
    request = parse(b'{"model": "keeper", "messages": [{"role": "user", "content": "a"}]}')
    local.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(RequestError, match=r"refuses these messages: .*roles must alternate"):
        local.prompt(request)
    local.tokenizer.chat_template = None
    with pytest.raises(MlxError, match="no chat template"):
        local.prompt(request)
