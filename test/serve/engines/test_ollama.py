"""Ollama behind the gateway: its own dialect there and back, its silent cuts told, its models loaded and unloaded within a budget."""

import base64
import http.client
import json
import struct

import pytest
from pydantic import ValidationError

from src.core.errors import MlxError
from src.serve import ServeConfig
from src.serve.engines.ollama import OllamaEngine
from src.serve.open_gateway import open_gateway

from .ollama_stand_in import start

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LAMP = {"type": "function", "function": {"name": "set_lamp", "parameters": {"type": "object"}}}


@pytest.fixture
def ollama():
    """A stand-in for a server, its state at hand."""
    server, state = start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()


def gateway(ollama, **more):
    """A gateway of Ollama's models."""
    models = more.pop("models", None) or {
        "fast": {"type": "ollama", "model": "qwen3:30b-a3b", "context": 2048},
        "tiny": {"type": "ollama", "model": "tiny:1b", "context": 300},
        "gone": {"type": "ollama", "model": "llama4:16x17b"},
        "minilm": {"type": "ollama", "model": "minilm"},
    }
    models = {name: {"base_url": ollama.url, **each} for name, each in models.items()}
    config = ServeConfig.model_validate({"engine": None, "models": models, "page": False, **more})
    return open_gateway(config, None, project="test", output=None, beside={})


@pytest.fixture
def served(web, ollama):
    with web.running(gateway(ollama)) as address:
        yield address


def chat(text="Hello", model="fast", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def test_an_answer_in_openais_form_with_its_counts(web, served, ollama):
    status, headers, body = web.ask(served, chat("Hi there", temperature=0.5, max_tokens=50, stop="END", seed=7))
    assert status == 200
    assert headers["x-mlx-route"] == "fast; explicit" or headers["x-mlx-route"] == "fast; asked"
    assert body["choices"][0]["message"]["content"] == "Hello from qwen3:30b-a3b. "
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["model"] == "fast"
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    path, sent = ollama.asked[-1]
    assert path == "/api/chat"
    assert sent["options"] == {"temperature": 0.5, "num_predict": 50, "stop": ["END"], "seed": 7, "num_ctx": 2048}
    assert (sent["truncate"], sent["shift"], sent["stream"]) == (False, False, False)


def test_a_stream_is_openais_events(web, served):
    _, headers, text = web.ask(served, chat(stream=True, stream_options={"include_usage": True}, max_tokens=2))
    assert headers["content-type"].startswith("text/event-stream")
    events = web.events(text)
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in events if each["choices"]) == "Hello from "
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [each["choices"][0]["finish_reason"] for each in events if each["choices"]][-1] == "length"
    assert events[-1]["usage"]["total_tokens"] == 3
    assert len({each["id"] for each in events}) == 1
    assert not any(each.get("usage") for each in web.events(web.ask(served, chat(stream=True))[2]))


def test_tools_are_called_whole_and_streamed(web, served, ollama):
    _, _, body = web.ask(served, chat("The lamp, please", tools=[LAMP]))
    message = body["choices"][0]["message"]
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] is None
    [call] = message["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("set_lamp", {"state": "on"})
    events = web.events(web.ask(served, chat("The lamp, please", tools=[LAMP], stream=True))[2])
    [delta] = [each["choices"][0]["delta"]["tool_calls"] for each in events if each["choices"][0]["delta"].get("tool_calls")]
    assert (delta[0]["index"], delta[0]["function"]["name"]) == (0, "set_lamp")
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    result = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"], "content": "done"}]
    web.ask(served, {**chat(), "messages": [{"role": "developer", "content": "Short."}, *chat()["messages"], *result], "tools": [LAMP]})
    sent = ollama.asked[-1][1]["messages"]
    assert sent[0] == {"role": "system", "content": "Short."}
    assert sent[2]["tool_calls"] == [{"function": {"name": "set_lamp", "arguments": {"state": "on"}}}]
    assert sent[3] == {"role": "tool", "content": "done", "tool_call_id": call["id"], "tool_name": "set_lamp"}
    assert "tools" not in ollama_sent(web, served, ollama, chat(tools=[LAMP], tool_choice="none"))


def ollama_sent(web, served, ollama, body):
    assert web.ask(served, body)[0] == 200
    return ollama.asked[-1][1]


def test_images_formats_and_thoughts_pass(web, served, ollama):
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    _, _, body = web.ask(served, {**chat(), "messages": [{"role": "user", "content": parts}]})
    assert body["choices"][0]["message"]["content"] == "Saw an image. "
    assert ollama.asked[-1][1]["messages"] == [{"role": "user", "content": "What?", "images": [PIXEL]}]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert ollama_sent(web, served, ollama, chat(response_format=form))["format"] == schema
    assert ollama_sent(web, served, ollama, chat(response_format={"type": "json_object"}))["format"] == "json"
    assert "format" not in ollama_sent(web, served, ollama, chat(response_format={"type": "text"}))
    assert web.ask(served, chat(reasoning_effort="low"))[2]["choices"][0]["message"]["reasoning_content"] == "Hm."
    assert ollama_sent(web, served, ollama, chat(reasoning_effort="none"))["think"] is False


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"logprobs": True}, "unsupported_parameter"),
        ({"logit_bias": {"5": 1}}, "unsupported_parameter"),
        ({"tool_choice": "required", "tools": [LAMP]}, "unsupported_parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]},
            "bad_image",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,??"}}]}]},
            "bad_image",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, None),
    ],
)
def test_what_ollama_has_not_is_refused_and_not_left_out(web, served, ollama, more, code):
    before = len(ollama.asked)
    status, _, body = web.ask(served, {**chat(), **more})
    assert (status, body["error"]["code"]) == (400, code)
    assert len(ollama.asked) == before


def test_a_model_that_is_not_pulled_is_answered_with_its_command(web, served):
    status, _, body = web.ask(served, chat(model="gone"))
    assert status == 404
    assert body["error"]["code"] == "model_not_pulled"
    assert "ollama pull llama4:16x17b" in body["error"]["message"]


def test_a_busy_server_is_asked_again(web, served, ollama):
    ollama.busy = 1
    status, headers, _ = web.ask(served, chat())
    assert (status, headers["x-mlx-tries"]) == (200, "2")
    ollama.busy = 9
    status, _, body = web.ask(served, chat())
    assert (status, body["error"]["type"]) == (503, "server_error")
    ollama.busy = 0


def test_words_against_a_request_are_passed_on(web, served):
    status, _, body = web.ask(served, chat(model="tiny", tools=[LAMP]))
    assert status == 400
    assert "does not support tools" in body["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_never_cut_in_silence(web, served, ollama, stream):
    dense = "x " * 420  # few letters a token: the estimate is too low, and lets it pass
    status, _, body = web.ask(served, chat(dense, model="tiny", max_tokens=5, stream=stream))
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert "420 tokens" in body["error"]["message"]
    ollama.old = True  # a version that cuts all the same: 152 of 420 tokens are read
    status, _, body = web.ask(served, chat(dense, model="tiny", max_tokens=5, stream=stream))
    said = json.dumps(body)
    assert "prompt_cut" in said
    assert "read 152" in said
    status, _, body = web.ask(served, chat("x " * 3000, model="tiny"))
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert "about" in body["error"]["message"]


def test_embeddings_come_as_lists_or_packed(web, served, ollama):
    asked = {"model": "minilm", "input": ["one two", "three"]}
    _, _, body = web.ask(served, asked, path="/v1/embeddings")
    assert [row["embedding"] for row in body["data"]] == [[7.0, 0.5, -1.0], [5.0, 0.5, -1.0]]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert ollama.asked[-1][1]["truncate"] is False
    _, _, body = web.ask(served, {**asked, "input": "one two", "encoding_format": "base64"}, path="/v1/embeddings")
    assert struct.unpack("<3f", base64.b64decode(body["data"][0]["embedding"])) == (7.0, 0.5, -1.0)
    assert web.ask(served, {"model": "minilm", "input": [[1, 2]]}, path="/v1/embeddings")[0] == 400
    status, _, body = web.ask(served, {"model": "fast", "input": "x"}, path="/v1/embeddings")
    assert (status, body["error"]["code"]) == (400, "path_not_supported")


def test_a_stream_that_breaks_off_says_so(web, served):
    status, _, said = web.ask(served, chat("break off", stream=True))
    assert "CUDA error" in str(said)  # in the stream, or in its place where nothing had gone to the client
    assert "[DONE]" not in str(said)
    assert status in (200, 502)


def test_a_client_that_leaves_ends_ollamas_work(web, served, ollama):
    connection = http.client.HTTPConnection(served.removeprefix("http://"), timeout=20)
    connection.request("POST", "/v1/chat/completions", json.dumps(chat("slowly", stream=True)), {"content-type": "application/json"})
    assert b"data:" in connection.getresponse().read(300)
    connection.sock.close()
    connection.close()
    web.until(lambda: ollama.left == 1, 5)


def test_without_ollama_the_answer_says_how_to_have_it(web, tmp_path):
    class Nowhere:
        url = "http://127.0.0.1:9"

    with web.running(
        gateway(Nowhere, models={"fast": {"type": "ollama", "model": "tiny:1b", "vram_gb": 1}}, residency={"vram_gb": 2})
    ) as address:
        status, headers, body = web.ask(address, chat())
    assert (status, body["error"]["code"]) == (503, "model_not_loaded")
    assert "no Ollama" in body["error"]["message"] and "127.0.0.1" not in body["error"]["message"]
    assert headers["retry-after"]


def test_models_are_loaded_and_unloaded_within_the_budget(web, ollama):
    models = {
        "fast": {"type": "ollama", "model": "qwen3:30b-a3b", "context": 4096, "vram_gb": 14, "ram_gb": 6},
        "coder": {"type": "ollama", "model": "qwen2.5-coder:32b", "context": 8192, "vram_gb": 14, "ram_gb": 21},
        "tiny": {"type": "ollama", "model": "tiny:1b", "vram_gb": 1, "ram_gb": 0.5},
    }
    ollama.loaded = {"qwen3:30b-a3b": 4096}
    made = gateway(ollama, models=models, residency={"vram_gb": 16, "ram_gb": 100, "linger": 0.1})
    with web.running(made) as address:
        web.until(lambda: states(web, address)["fast"] == "ready")  # it was loaded already
        assert web.ask(address, chat(model="tiny"))[0] == 200
        assert set(ollama.loaded) == {"qwen3:30b-a3b", "tiny:1b"}
        assert web.ask(address, chat(model="coder"))[0] == 200
        assert ollama.loaded == {"tiny:1b": 512, "qwen2.5-coder:32b": 8192}
        assert states(web, address) == {"fast": "unloaded", "coder": "ready", "tiny": "ready"}
        assert web.ask(address, chat(model="fast"))[0] == 200
        assert set(ollama.loaded) == {"qwen3:30b-a3b", "tiny:1b"}
    sent = [body for path, body in ollama.asked if path == "/api/generate"]
    assert {"model": "qwen2.5-coder:32b", "keep_alive": 0} in sent
    assert {"model": "qwen2.5-coder:32b", "keep_alive": -1, "options": {"num_ctx": 8192}} in sent


def states(web, address):
    return {row["model"]: row["state"] for row in web.ask(address, path="/health", method="GET")[2]["residency"]}


@pytest.mark.parametrize("budgeted", [True, False])
def test_a_model_that_takes_more_memory_than_there_is_falls_back_and_takes_none(web, ollama, budgeted):
    ollama.room = 5_000
    models = {
        "large": {"type": "ollama", "model": "qwen3:30b-a3b", "vram_gb": 4},
        "alone": {"type": "ollama", "model": "qwen3:30b-a3b", "vram_gb": 4},
        "tiny": {"type": "ollama", "model": "tiny:1b", "vram_gb": 1, "ram_gb": 1},
    }
    routes = {"name": "both", "default": "large", "fallback": {"large": ["tiny"]}}
    residency = {"residency": {"vram_gb": 5, "ram_gb": 5}} if budgeted else {}
    with web.running(gateway(ollama, models=models, routes=routes, **residency)) as address:
        status, headers, _ = web.ask(address, chat(model="both"))
        assert (status, headers["x-mlx-route"]) == (200, "tiny; default; not large")
        status, headers, body = web.ask(address, chat(model="alone"))
        assert (status, body["error"]["code"]) == (503, "model_not_loaded" if budgeted else "out_of_memory") and headers["retry-after"]
        assert "memory" in body["error"]["message"] and "GiB" not in body["error"]["message"]
        if budgeted:
            web.until(lambda: states(web, address) == {"large": "unloaded", "alone": "unloaded", "tiny": "ready"})
        assert set(ollama.loaded) == {"tiny:1b"}


def test_a_model_with_less_context_than_asked_for_is_told(web, ollama, monkeypatch):
    monkeypatch.setattr(type(ollama), "load", lambda self, model, context: self.loaded.update({model: 512}))
    models = {"fast": {"type": "ollama", "model": "tiny:1b", "context": 4096, "vram_gb": 1}}
    with web.running(gateway(ollama, models=models, residency={"vram_gb": 2, "ram_gb": 1})) as address:
        status, _, body = web.ask(address, chat())
    assert status == 503
    assert "512 tokens of context, not 4,096" in body["error"]["message"]


def test_sizes_beyond_the_budget_are_errors_of_the_config():
    models = {"big": {"type": "ollama", "model": "x", "vram_gb": 20}}
    with pytest.raises(ValidationError, match=r"models.big needs 20 GB on the GPU \(of 16\) alone"):
        ServeConfig.model_validate({"engine": None, "models": models, "residency": {"vram_gb": 16}})


def test_a_size_without_unloading_is_an_error():
    models = {"far": {"type": "openai", "url": "http://127.0.0.1:1/v1", "model": "x", "vram_gb": 1}}
    config = ServeConfig.model_validate({"engine": None, "models": models, "residency": {"vram_gb": 16}})
    with pytest.raises(MlxError, match="cannot be unloaded"):
        open_gateway(config, None, project="test", output=None, beside={})


def test_the_address_comes_from_the_environment(monkeypatch):
    from src.core.config import FromEnv

    field = OllamaEngine.model_fields["base_url"]
    assert any(isinstance(mark, FromEnv) and mark == "OLLAMA_BASE_URL" for mark in field.metadata)
