"""Engines of their own processes behind one budget: started when wanted, ended for others, no answer cut."""

import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from src.serve import ServeConfig
from src.serve.engines.process import ProcessEngine
from src.serve.open_gateway import open_gateway

STAND_IN = Path(__file__).parents[2] / "llm" / "stand_in.py"


def gateway(tmp_path, residency=None, **more):
    def model(name):
        command = [sys.executable, str(STAND_IN), "--port", "{port}", "--delay", "0.1", "--notes", str(tmp_path / f"{name}.jsonl")]
        return {"type": "process", "command": command, "ram_gb": 1, **more}

    said = {"engine": None, "models": {"a": model("a"), "b": model("b")}, "residency": residency, "page": False}
    return open_gateway(ServeConfig.model_validate(said), None, project="test", output=tmp_path, beside={})


def chat(model, text="Hi"):
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def alive():
    """The engines that run now."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            words = child.cmdline() if child.status() != psutil.STATUS_ZOMBIE else []
            found |= {Path(word).stem for word in words if word.endswith(".jsonl")}
    return found


def test_engines_without_a_budget_run_from_the_start(web, tmp_path):
    with web.running(gateway(tmp_path)) as address:
        web.until(lambda: web.ask(address, path="/health", method="GET")[2]["status"] == "ready")
        assert alive() == {"a", "b"}
        assert web.ask(address, chat("a"))[2]["messages"][0]["content"] == "Hi"  # the stand-in says what it was asked
    assert not alive()


def test_one_ends_for_the_other_and_none_before_its_answers(web, tmp_path):
    seen, found = set(), []
    with web.running(gateway(tmp_path, {"ram_gb": 1.5, "linger": 0, "batch": 0.5})) as address:
        assert not alive()

        def client(number):
            for turn in range(4):
                name = "ab"[(number + turn) % 2]
                status, headers, body = web.ask(address, chat(name, f"{number} {turn}"))
                seen.add(frozenset(alive()))
                found.append((status, headers["x-mlx-route"][0] == name, body["messages"][0]["content"] == f"{number} {turn}"))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [(200, True, True)] * 12
    assert seen <= {frozenset("a"), frozenset("b"), frozenset()}
    assert not alive()


def test_an_engine_that_does_not_start_is_told(web, tmp_path):
    made = gateway(tmp_path, {"ram_gb": 1.5}, startup_timeout=1, health="/health")
    made.models["a"].engine._launcher.command[-2:] = ["--fail", "--notes", str(tmp_path / "a.jsonl")]
    with web.running(made) as address:
        status, headers, body = web.ask(address, chat("a"))
        assert (status, body["error"]["code"]) == (503, "model_not_loaded")
        assert headers["retry-after"]
        assert web.ask(address, chat("b"))[0] == 200


def test_a_command_has_to_say_where_to_listen():
    with pytest.raises(ValidationError, match=r"holds no \{port\}"):
        ProcessEngine(type="process", command=["llama-server", "-m"])


def test_a_program_beside_this_python_is_found_off_the_path_and_others_are_left_to_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    def first(program):
        engine = ProcessEngine(type="process", command=(program, "--port", "{port}"))
        return engine.launcher(None, name="a", max_new_tokens=None, log=tmp_path / "a.log").command[0]

    assert first("mlx") == str(Path(sys.executable).parent / "mlx")
    assert first("llama-server") == "llama-server"
