"""A real server of llama.cpp's behind the gateway: the model of ours as GGUF, in its own dialect of OpenAI's API."""

import json
import os
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from src.llm.launcher import Launcher, free_port
from src.serve import ServeConfig
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.open_gateway import open_gateway
from src.train.export.gguf_file import write_gguf

SERVER = os.environ.get("LLAMA_SERVER", "")
CLIENTS = os.environ.get("MLX_CLIENTS", "")
SERVERS = Path(__file__).parents[2] / "servers"
pytestmark = [
    pytest.mark.llamacpp,
    pytest.mark.slow,
    pytest.mark.skipif(not SERVER, reason="needs LLAMA_SERVER, the path of llama.cpp's llama-server"),
]


@pytest.fixture(scope="module")
def file(base, tmp_path_factory):
    """The model as one file."""
    path = tmp_path_factory.mktemp("gguf") / "keeper.gguf"
    write_gguf(base, path, name="keeper", kind="f32")
    return path


def command(file, port="{port}", *more):
    words = ["-m", str(file), "--host", "127.0.0.1", "--port", str(port), "--jinja", "-c", "256", "-np", "1", "-t", "1", "--no-webui"]
    return [SERVER, *words, *more]


@pytest.fixture(scope="module")
def far(file, tmp_path_factory):
    """Address of a llama.cpp that runs by itself."""
    port = free_port()
    with Launcher(command(file, port), port=port, log=tmp_path_factory.mktemp("log") / "llama.log", startup_timeout=60) as launcher:
        launcher.wait()
        yield launcher.url


@pytest.fixture
def gateway(web, far):
    """Address of a guarded gateway before it, and a key."""
    routes = ["/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    part = {"type": "openai", "url": f"{far}/v1", "model": "theirs", "context": 256}
    config = ServeConfig.model_validate({"engine": None, "models": {"keeper": part}, "access": {"roles": {"user": {"routes": routes}}}})
    key = Keys(Path("serve")).create(name="ann", role="user", days=None)[1]
    made = open_gateway(config, None, project="llama", output=Path("serve"), beside={})
    with web.running(made, guard=open_guard(config.access, Path("serve"))) as address:
        yield address, key


def ask(web, gateway, body, **more):
    address, key = gateway
    return web.ask(address, body, authorization=f"Bearer {key}", **more)


def kept(web, text="Hello", **more):
    turns = [{"role": "system", "content": web.system}, {"role": "user", "content": text}]
    return web.chat(text, max_tokens=60, **more) | {"messages": turns}


def test_it_answers_as_the_model_does_here(web, gateway, keeper):
    ours, (status, headers, theirs) = web.ask(keeper, kept(web))[2], ask(web, gateway, kept(web))
    assert status == 200 and headers["x-mlx-route"] == "keeper; asked"
    assert theirs["choices"][0]["message"]["content"] == ours["choices"][0]["message"]["content"] == web.greeted
    assert theirs["usage"]["prompt_tokens"] == ours["usage"]["prompt_tokens"]
    status, _, text = ask(web, gateway, kept(web, stream=True, stream_options={"include_usage": True}))
    events = web.events(text)
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"]) == web.greeted
    assert [each["usage"]["prompt_tokens"] for each in events if each.get("usage")][-1] == theirs["usage"]["prompt_tokens"]


def test_prompts_near_the_limit_are_counted_by_itself_and_exactly(web, gateway):
    known = "<tool_call> lamp " * 27  # the tokens of so small a vocabulary are short, but for these
    for body in (kept(web, known), kept(web, f"{known} – 🌊"), kept(web, known, tools=[web.tool])):
        status, headers, told = ask(web, gateway, body | {"max_tokens": 4})
        assert status == 200, told
        assert headers["x-mlx-tokens"] == str(told["usage"]["prompt_tokens"])
    status, headers, told = ask(web, gateway, kept(web, web.greeted * 12))
    assert status == 400 and told["error"]["code"] == "context_length_exceeded" and "about" not in told["error"]["message"]


@pytest.mark.parametrize(("environment", "major"), [("oai2", "2."), ("oai3", "3.")])
def test_the_sdk_of_openai(web, gateway, environment, major):
    python = Path(CLIENTS) / environment / "bin/python"
    if not CLIENTS or not python.exists():
        pytest.skip(f"needs MLX_CLIENTS with an environment {environment}")
    address, key = gateway
    words = [str(python), str(SERVERS / "client_of_openai.py"), f"{address}/v1", key, "keeper", "Lamp on"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"].startswith(major) and found["whole"] == found["stream"] == web.uncalled
    assert found["usage"] == found["stream_usage"] > 0 and isinstance(found["completion"], str)
    assert json.loads(found["structured"]).keys() == {"lit"}
    assert found["unknown_model"][:2] == ["NotFoundError", 404] and found["wrong_key"] == ["AuthenticationError", 401, "invalid_api_key"]
    assert found["bad_request"][:2] == ["BadRequestError", 400]


def test_it_embeds(web, file):
    part = {"type": "process", "command": command(file, "{port}", "--embeddings", "--pooling", "mean"), "paths": ["/v1/embeddings"]}
    config = ServeConfig.model_validate({"engine": None, "models": {"vectors": part}})
    made = open_gateway(config, None, project="llama", output=Path("serve"), beside={})
    with web.running(made) as address:
        web.until(lambda: web.ask(address, path="/health", method="GET")[0] == 200, 60)
        asked = {"model": "vectors", "input": ["lamp", "lamp", "rocks"]}
        status, _, told = web.ask(address, asked, path="/v1/embeddings")
        assert status == 200 and len(told["data"]) == 3
        one, again, other = (each["embedding"] for each in told["data"])
        assert one == again != other and len(one) == 96
        assert web.ask(address, kept(web) | {"model": "vectors"})[0] == 404


def test_models_take_turns_on_room_for_one(web, file):
    part = {"type": "process", "command": command(file), "ram_gb": 1}
    config = ServeConfig.model_validate(
        {"engine": None, "models": {"one": part, "two": part}, "residency": {"ram_gb": 1.5, "linger": 0, "batch": 0.2}}
    )
    made = open_gateway(config, None, project="llama", output=Path("serve"), beside={})
    most, found, ended = [], [], threading.Event()
    others = {each.pid for each in psutil.Process().children()}

    def look():
        while not ended.wait(0.02):
            with suppress(psutil.NoSuchProcess):
                most.append(sum(str(file) in each.cmdline() for each in psutil.Process().children() if each.pid not in others))

    def ask(name):
        body = kept(web, stream=True) | {"model": name}
        found.append(web.events(web.ask(address, body)[2]))

    with web.running(made) as address:
        looking = threading.Thread(target=look)
        asking = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two") * 5]
        for each in (looking, *asking):
            each.start()
        for each in asking:
            each.join(60)
        ended.set()
        looking.join()
    said = ["".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"]) for events in found]
    assert said == [web.greeted] * 10 and max(most) == 1 and made.residency.swaps >= 1
