"""Clients that nobody wrote for us, unchanged: curl here, the SDKs in environments of their own (see MLX_CLIENTS), vLLM behind."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from src.models.trained import Trained
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access
from src.serve.engines.vllm import VllmEngine

SERVERS = Path(__file__).parents[1] / "servers"
CLIENTS = os.environ.get("MLX_CLIENTS", "")
"""Folder of environments: oai2 and oai3 with `openai` of that major, lc with `langchain-openai`."""
TOOL = "Lamp on"


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow])])
def guarded_model(request, web, trained_folder, tmp_path_factory):
    """Address of a guarded server with a real model, a key for it, and which engine it is."""
    folder = tmp_path_factory.mktemp("clients")
    trained = Trained.of(trained_folder)
    if request.param == "vllm":
        if not os.environ.get("VLLM_EXECUTABLE"):
            pytest.skip("needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one")
        part = VllmEngine(type="vllm", executable=Path(os.environ["VLLM_EXECUTABLE"]), max_model_len=256)
    else:
        from src.serve.engines.transformers import TransformersEngine

        part = TransformersEngine(device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, os.environ.get(name, value))
        key = Keys(folder).create(name="ann", role="user", days=None)[1]
        routes = ["/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
        guard = open_guard(Access.model_validate({"roles": {"user": {"routes": routes}}}), folder)
        failures = []
        engine = part.open(trained, name="keeper", max_new_tokens=100, log=folder / "engine.log")
        with web.running(engine, guard=guard, failed=failures.append) as address:
            web.until(lambda: failures or web.ask(address, path="/health", method="GET")[0] == 200, 400)
            assert not failures, failures
            yield address, key, request.param


def run(environment, script, guarded_model):
    python = Path(CLIENTS) / environment / "bin/python"
    if not CLIENTS or not python.exists():
        pytest.skip(f"needs MLX_CLIENTS with an environment {environment}")
    address, key, _ = guarded_model
    command = [str(python), str(SERVERS / script), f"{address}/v1", key, "keeper", TOOL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("environment", "major"), [("oai2", "2."), ("oai3", "3.")])
def test_the_sdk_of_openai(guarded_model, web, environment, major):
    if guarded_model[2] == "transformers":
        pytest.skip("the engine in process refuses response_format; the SDK is tried on vLLM")
    found = run(environment, "client_of_openai.py", guarded_model)
    assert found["version"].startswith(major) and found["models"] == ["keeper"]
    assert found["whole"] == found["stream"] == web.greeted and found["usage"] == found["stream_usage"] > 0
    assert found["tool"] == [{"state": "on"}]
    assert json.loads(found["structured"]).keys() == {"lit"}
    assert isinstance(found["completion"], str) and found["embedding"] in (2, 400, 404, 501, 502)  # this model embeds nothing
    assert found["unknown_model"][:2] == ["NotFoundError", 404] and found["wrong_key"] == ["AuthenticationError", 401, "invalid_api_key"]
    assert found["bad_request"][:2] == ["BadRequestError", 400]


def test_langchain(guarded_model, web):
    found = run("lc", "client_of_langchain.py", guarded_model)
    assert found == {"whole": web.greeted, "stream": web.greeted, "tool": [{"state": "on"}]}


@pytest.mark.parametrize("stream", [False, True])
def test_curl(guarded_model, web, stream):
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    address, key, _ = guarded_model
    body = json.dumps(web.chat(stream=stream))
    command = ["curl", "-sSN", f"{address}/v1/chat/completions", "-H", f"Authorization: Bearer {key}", "--json", body]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    if stream:
        text = "".join(each["choices"][0]["delta"].get("content") or "" for each in web.events(told) if each["choices"])
    else:
        text = json.loads(told)["choices"][0]["message"]["content"]
    assert text == web.greeted


def test_the_load_generator_of_vllm(guarded_model):
    address, key, kind = guarded_model
    if kind != "vllm":
        pytest.skip("needs vLLM")
    tokenizer = next(Path(each) for each in _arguments("--tokenizer"))
    command = [os.environ["VLLM_EXECUTABLE"], "bench", "serve", "--backend", "openai-chat", "--base-url", address, "--endpoint"]
    command += ["/v1/chat/completions", "--model", "keeper", "--tokenizer", str(tokenizer), "--dataset-name", "random"]
    command += ["--random-input-len", "16", "--random-output-len", "8", "--num-prompts", "20", "--max-concurrency", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "OPENAI_API_KEY": key})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Successful requests:" in done.stdout, done.stdout[-2000:]
    line = next(line for line in done.stdout.splitlines() if "Successful requests:" in line)
    assert line.split()[-1] == "20", done.stdout[-2500:]


def _arguments(name):
    """The values that running engines were started with, by this name."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and name.encode() in words:
            yield words[words.index(name.encode()) + 1].decode()
