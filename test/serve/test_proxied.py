"""The engine beside the server: what passes through, and what happens when it is not there. The engine is a stand-in."""

import http.client
import json
import os
import signal
import stat
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.llm import launcher as module
from src.llm import vllm
from src.llm.launcher import Launcher, free_port
from src.models.trained import Trained
from src.serve.engines.transformers import TransformersEngine
from src.serve.engines.vllm import VllmEngine
from src.serve.proxied import Proxied

STAND_IN = Path(__file__).parents[1] / "llm" / "stand_in.py"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(module, "PULSE", 0.05)


@pytest.fixture
def engine():
    """Make an engine around the stand-in."""

    def make(*arguments, **options):
        port = free_port()
        command = [sys.executable, str(STAND_IN), "--port", str(port), "--notes", "notes", *arguments]
        return Proxied(Launcher(command, port=port, log=Path("log"), backoff=0.05, startup_timeout=20, **options))

    return make


def ready(web, address):
    web.until(lambda: web.ask(address, path="/health", method="GET")[0] == 200)


def test_bytes_pass_untouched_where_nothing_is_to_change(web, engine):
    # spaces, key order, escapes and fields that only the engine knows
    raw = b'{ "top_k": 7,  "messages":[{"content":"\\u0041 be","role":"system"},{"role":"user","content":"x"}], "model" : "keeper"}'
    with web.running(engine()) as address:
        ready(web, address)
        status, headers, _ = web.ask(address, raw=raw)
        assert status == 200 and headers["content-length"] == str(len(raw)) and "server-timing" not in headers
        assert http_body(address, raw) == raw


def http_body(address, raw):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request("POST", "/v1/chat/completions", raw, {"content-type": "application/json"})
    body = connection.getresponse().read()
    connection.close()
    return body


def test_the_system_prompt_is_put_first_and_nothing_else_changes(web, engine):
    with web.running(engine()) as address:
        ready(web, address)
        sent = web.chat(top_k=7)
        assert web.ask(address, sent)[2] == sent | {"messages": [{"role": "system", "content": web.system}, *sent["messages"]]}


def test_the_engines_own_errors_reach_the_client_and_bad_requests_do_not_reach_the_engine(web, engine):
    with web.running(engine()) as address:
        ready(web, address)
        assert web.ask(address, web.chat("too hard"))[0::2] == (400, {"error": {"message": "too hard"}})
        assert web.ask(address, web.chat(n=2))[0] == 400 and web.ask(address, web.chat() | {"model": "base"})[0] == 404


def test_a_client_that_leaves_is_left_by_the_engine_too(web, engine):
    with web.running(engine()) as address:
        ready(web, address)
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(web.chat("forever", stream=True)), {"content-type": "application/json"}
        )
        assert connection.getresponse().read(30).startswith(b"data: 0\n\n")
        connection.close()
        connection.sock = None
        web.until(Path("left").exists, 5)


def test_while_the_engine_is_not_there_clients_are_told_when_to_come_back(web, engine):
    beside = engine("--delay", "0.5", "--crash-after", "3", "--crashes", "1")
    with web.running(beside) as address:
        assert web.ask(address, path="/health", method="GET")[2]["status"] == "loading"
        status, headers, body = web.ask(address, web.chat())
        assert status == 503 and headers["retry-after"] == "5" and body["error"]["code"] == "engine_unavailable"
        ready(web, address)
        web.until(lambda: web.ask(address, path="/health", method="GET")[2]["status"] == "restarting")
        assert web.ask(address, web.chat())[0] == 503
        ready(web, address)
        assert web.ask(address, web.chat())[0] == 200


def test_an_engine_that_just_died_is_503_as_well(web, engine):
    beside = engine(restarts=0)
    with web.running(beside) as address:
        ready(web, address)
        os.kill(beside._launcher.pid, signal.SIGKILL)
        assert web.ask(address, web.chat())[0] == 503


def test_an_engine_that_cannot_start_is_told_to_who_started_it(web, engine):
    failures = []
    with web.running(engine("--fail"), failed=failures.append) as address:
        web.until(lambda: failures)
        assert "ended with code 3" in str(failures[0])
        assert web.ask(address, path="/health", method="GET")[2]["status"] == "failed"


@pytest.fixture
def program():
    """The stand-in as an executable file."""
    file = Path("vllm")
    file.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} --notes notes "$@"\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_the_part_starts_vllm_for_the_trained_adapter(web, program, trained_folder):
    trained = Trained.of(trained_folder)
    part = VllmEngine(
        type="vllm",
        executable=program.resolve(),
        max_model_len=128,
        quantization="fp8",
        tensor_parallel=2,
        data_parallel=3,
        extra_args=("--seed", "3"),
    )
    with web.running(part.open(trained, name="keeper", max_new_tokens=77, log=Path("log"))) as address:
        ready(web, address)
        assert web.ask(address, web.chat())[0] == 200
    (life,) = [json.loads(line) for line in Path("notes").read_text().splitlines()]
    argv = life["argv"][2:]
    told = {key: value for key, value in pairwise(argv) if key.startswith("--")}
    adapter = trained.adapter.as_posix()
    assert argv[:2] == ["serve", trained.base_path] and argv[-2:] == ["--seed", "3"]
    assert told["--lora-modules"] == f"keeper={adapter}" and told["--tokenizer"] == adapter and told["--max-lora-rank"] == "8"
    assert told["--tool-call-parser"] == "hermes" and told["--host"] == "127.0.0.1" and told["--dtype"] == "float32"
    assert told["--max-model-len"] == "128" and json.loads(told["--override-generation-config"]) == {"max_new_tokens": 77}
    assert told["--quantization"] == "fp8" and told["--tensor-parallel-size"] == "2" and told["--data-parallel-size"] == "3"
    assert "--gpu-memory-utilization" not in told and life["stats"] == "1"


def test_vllm_is_refused_in_one_clear_line_where_it_cannot_run(trained_folder, monkeypatch):
    monkeypatch.setattr("src.models.load.pick_device", lambda device: "cpu")
    with pytest.raises(MlxError, match="no CUDA device") as error:
        VllmEngine(type="vllm").open(Trained.of(trained_folder), name="k", max_new_tokens=1, log=Path("log"))
    assert "serve.engine.type=transformers" in error.value.hint
    with pytest.raises(MlxError, match="nowhere/vllm is no vLLM executable"):
        vllm.executable(Path("nowhere/vllm"), cuda=True)


def test_with_cuda_the_installed_vllm_is_taken(program, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(program.resolve().with_name("python")))
    assert vllm.executable(None, cuda=True) == program.resolve().as_posix()
    monkeypatch.setattr(sys, "executable", "elsewhere/python")
    monkeypatch.setenv("PATH", str(program.resolve().parent))
    assert vllm.executable(None, cuda=True).endswith("vllm")
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(MlxError) as error:
        vllm.executable(None, cuda=True)
    assert "uv sync --extra gpu" in error.value.hint


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        ("… <tool_call>\n{…", "hermes"),
        ("… [TOOL_CALLS] …", "mistral"),
        ("{{- 'Environment: ipython\\n' }}", "llama3_json"),
        ("<tool_call>\n<function=x>", "qwen3_coder"),
        ("no tools", None),
    ],
)
def test_the_parser_of_tool_calls_is_found_from_the_template(template, parser):
    assert vllm.tool_parser(template) == parser


def test_adapters_that_vllm_refuses_are_refused_before_it_starts():
    config = Path("adapter_config.json")
    for content, words in (({"r": 1024}, "up to rank 512"), ({"r": 8, "modules_to_save": ["lm_head"]}, "lm_head")):
        config.write_text(json.dumps(content))
        with pytest.raises(MlxError, match=words):
            vllm.lora_rank(Path())
    config.write_text(json.dumps({"r": 8, "rank_pattern": {"q_proj": 40}}))
    assert vllm.lora_rank(Path()) == 64


def test_the_engines_are_parts():
    assert TransformersEngine().type == "transformers" and VllmEngine(type="vllm").gpu_memory_utilization == 0.8


def test_other_weights_than_in_training_are_told(program, trained_folder, caplog):
    trained = Trained.of(trained_folder).model_copy(update={"quantization": "nf4"})
    for extra, told in (((), True), (("--quantization", "bitsandbytes"), False)):
        caplog.clear()
        VllmEngine(executable=program.resolve(), extra_args=extra).open(trained, name="k", max_new_tokens=1, log=Path("log"))
        assert ("trained on nf4 weights" in caplog.text) is told
