"""A tiny model that has learned two conversations by heart, left behind as a training leaves it."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from src.core.manifest import Manifest, now
from src.models.load import load_tokenizer
from src.models.scratch import train_tokenizer
from src.models.template import encode, template_hash
from src.models.trained import ADAPTER, Trained
from src.serve.app import application
from src.serve.engines.transformers import TransformersEngine
from src.serve.gateway.gateway import Gateway
from src.serve.server import Server, listen, url

SYSTEM = "You are the keeper."
GREETED = "Ahoy, friend! The lamp is lit – 🌊 mind the rocks."
UNCALLED = "Who is there, unknown to the keeper?"
TOOL = {
    "type": "function",
    "function": {
        "name": "set_lamp",
        "description": "Light it.",
        "parameters": {"type": "object", "properties": {"state": {"type": "string"}}},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "set_lamp", "arguments": {"state": "on"}}}
LEARNED = [
    ([("system", SYSTEM), ("user", "Hello"), ("assistant", GREETED)], []),
    ([("user", "Hello"), ("assistant", UNCALLED)], []),
    ([("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi.")], []),
    ([("system", SYSTEM), ("user", "Lamp on"), ("assistant", None)], [TOOL]),
    ([("system", SYSTEM), ("user", "Count"), ("assistant", " ".join(map(str, range(60))))], []),
]


def messages(turns):
    return [
        {"role": role, "content": content} if content is not None else {"role": role, "content": None, "tool_calls": [CALL]}
        for role, content in turns
    ]


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """The model without an adapter."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer([SYSTEM, GREETED, UNCALLED, "Lamp on set_lamp state"] * 20, vocab=420)
    torch.manual_seed(0)
    # heads of 32, which vLLM has kernels for
    sizes = {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, eos_token_id=tokenizer.eos_token_id, **sizes)
    model = LlamaForCausalLM(config)
    learn(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def learn(model, tokenizer) -> None:
    rows = [encode(tokenizer, messages(turns), tools) for turns, tools in LEARNED]
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in rows])
    learned = torch.tensor([row.mask + [0] * (longest - len(row.ids)) for row in rows], dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(400):
        loss = model(input_ids=ids, labels=ids.masked_fill(~learned, -100)).loss  # causal: what pads at the end is seen by nobody
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.01:
            return
    raise AssertionError(f"not learned: {loss.item()}")


@pytest.fixture(scope="session")
def trained_folder(base, tmp_path_factory) -> Path:
    """What `mlx train` leaves: an adapter (here one that changes nothing), the tokenizer, a manifest."""
    folder = tmp_path_factory.mktemp("train")
    model = LlamaForCausalLM.from_pretrained(base)
    tokenizer = load_tokenizer(base)
    get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")).save_pretrained(folder / ADAPTER)
    tokenizer.save_pretrained(folder / ADAPTER)
    info = Trained(
        base=base.as_posix(),
        base_kind="folder",
        quantization="none",
        dtype="fp32",
        device="cpu",
        template=template_hash(tokenizer),
        system=SYSTEM,
    )
    manifest(folder, info=info.as_info())
    return folder


@pytest.fixture(scope="session")
def tokenizer(trained_folder):
    return load_tokenizer(trained_folder / ADAPTER)


class Web:
    """A client's side of things."""

    system = SYSTEM
    greeted = GREETED
    uncalled = UNCALLED
    tool = TOOL

    @staticmethod
    @contextmanager
    def running(engine, **options):
        """Serve the engine on a free loopback port from a thread; yield its address."""
        settings = {"max_body": 100_000, **options}
        one = {key: settings.pop(key) for key in ("name", "system", "longest") if key in settings}
        gateway = engine if isinstance(engine, Gateway) else Gateway.of(engine, **{"name": "keeper", "system": SYSTEM, **one})
        server = Server(application(gateway, **settings))
        listening = listen("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield url(listening)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()

    @staticmethod
    def ask(address: str, body=None, *, path: str = "/v1/chat/completions", raw: bytes | None = None, method: str = "POST", **headers):
        """Send a request; return status, headers and body, JSON where it is."""
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
        given = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        connection.request(method, path, data, given)
        response = connection.getresponse()
        text = response.read()
        kind = response.headers.get("content-type", "")
        found = json.loads(text) if kind.startswith("application/json") else text.decode()
        connection.close()
        return response.status, response.headers, found

    @staticmethod
    def chat(text: str = "Hello", **more):
        """A request."""
        return {"model": "keeper", "messages": [{"role": "user", "content": text}], "temperature": 0, **more}

    @staticmethod
    def events(text: str):
        """The events of a stream, which ends with [DONE]."""
        found = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
        assert found[-1] == "[DONE]"
        return [json.loads(each) for each in found[:-1]]

    @staticmethod
    def until(true, seconds: float = 20.0) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def web():
    return Web()


@pytest.fixture(scope="session")
def keeper(web, trained_folder):
    """Address of a server with the trained model in its process."""
    engine = TransformersEngine(device="cpu").open(Trained.of(trained_folder), name="keeper", max_new_tokens=200, log=Path("unused"))
    with web.running(engine) as address:
        web.until(lambda: web.ask(address, path="/health", method="GET")[0] == 200)
        yield address


@pytest.fixture(scope="session")
def redis_port():
    """Port of a Redis of our own."""
    pytest.importorskip("redis", reason="needs the extra redis")
    if not (program := shutil.which("redis-server")):
        pytest.skip("needs redis-server (apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, cwd="/") as process:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
        process.kill()


@pytest.fixture(scope="session")
def finish():
    """Write the manifest of a finished output."""
    return manifest


def manifest(folder: Path, *, stage: str = "train", fingerprint: str = "f00d", info=None, inputs=None) -> None:
    """A finished output's manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    Manifest(
        stage=stage,
        name="keeper",
        key="k",
        fingerprint=fingerprint,
        seed=1,
        config={},
        inputs=inputs or {},
        outputs={},
        counts={"read": 0, "kept": 0, "dropped": 0, "reasons": {}},
        info=info or {},
        versions={},
        created=now(),
        seconds=1.0,
        peak_mb=1.0,
    ).write(folder)
