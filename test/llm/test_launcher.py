"""An engine is started, watched, started again and ended; the engine here is a script with good and bad days."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.llm import launcher as module
from src.llm.launcher import Launcher, answers, free_port, mortal

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(module, "PULSE", 0.05)


def launch(*arguments, **options):
    port = free_port()
    command = [sys.executable, str(STAND_IN), "--port", str(port), "--notes", "notes", *arguments]
    return Launcher(command, port=port, log=Path("log/vllm.log"), **{"backoff": 0.05, "startup_timeout": 20, **options})


def lives():
    return [json.loads(line) for line in Path("notes").read_text().splitlines()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_ready_once_it_answers_and_gone_once_stopped():
    engine = launch("--delay", "0.4", environment={"VLLM_NO_USAGE_STATS": "1"})
    assert engine.state == "new"
    with engine:
        assert engine.state == "starting"
        engine.wait()
        assert engine.state == "ready" and answers(engine.port, "/health")
        (life,) = lives()
        assert life["pid"] == engine.pid and life["stats"] == "1"
    assert engine.state == "stopped" and engine.pid is None and gone(life["pid"])
    assert Path("log/vllm.log").read_text() == "life 1 begins\n"


def test_a_crash_is_followed_by_a_restart(caplog):
    with launch("--crash-after", "0.1", "--crashes", "1") as engine:
        until(lambda: Path("notes").exists() and len(lives()) == 2 and engine.state == "ready")
        assert "ended with code 7" in caplog.text and "(1 of 3)" in caplog.text


def test_an_engine_that_hangs_is_started_again(monkeypatch):
    monkeypatch.setattr(module, "MISSES", 2)
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with launch("--hang-after", "0.1") as engine:
        until(lambda: Path("notes").exists() and len(lives()) == 2 and engine.state == "ready")


def test_crash_upon_crash_is_given_up():
    with launch("--crash-after", "0.1", restarts=2) as engine:
        assert engine.wait_failed()
        assert len(lives()) == 3 and engine.state == "failed"
        with pytest.raises(MlxError, match=r"ended with code 7, after 2 restarts\n  life 3 begins") as error:
            engine.wait()
        assert error.value.hint == "its log is log/vllm.log"


def test_an_engine_that_never_was_ready_fails_at_once_with_its_last_words(monkeypatch):
    monkeypatch.setenv("STAND_IN_KEY", "very-secret")
    with launch("--fail") as engine:
        with pytest.raises(MlxError, match=r"ended with code 3\n  life 1 begins\n  ValueError: the key \*\*\* is wrong"):
            engine.wait()
        assert len(lives()) == 1


def test_an_engine_that_takes_too_long_is_ended():
    with launch("--delay", "60", startup_timeout=0.5) as engine:
        with pytest.raises(MlxError, match=r"was not ready after 0\.5 s"):
            engine.wait()
        until(lambda: gone(lives()[0]["pid"]))


@pytest.mark.parametrize("prefix", [mortal, list])
def test_a_command_that_is_not_there_is_an_error(prefix, monkeypatch):
    monkeypatch.setattr(module, "mortal", prefix)
    with Launcher(["./nothing"], port=1, log=Path("log")) as engine, pytest.raises(MlxError, match="nothing"):
        engine.wait()


def test_one_that_ignores_sigterm_is_killed_after_the_grace_and_so_are_children():
    with launch("--deaf", "--child", grace=0.3) as engine:
        engine.wait()
        (life,) = lives()
    assert gone(life["pid"])
    until(lambda: gone(life["child"]))


def test_children_of_a_crashed_engine_are_ended():
    with launch("--child", "--crash-after", "0.1", restarts=0) as engine:
        assert engine.wait_failed()
        until(lambda: gone(lives()[0]["child"]))


def test_stopping_while_it_starts_or_waits_to_restart_ends_the_wait():
    engine = launch("--delay", "60")
    engine.start()
    until(lambda: Path("notes").exists())
    engine.stop()
    with pytest.raises(MlxError, match="stopped"):
        engine.wait()
    assert not engine.wait_failed()
    waiting = launch("--crash-after", "0.1", backoff=60)
    with waiting:
        until(lambda: waiting.state == "restarting")
    assert waiting.state == "stopped"


@pytest.mark.skipif(not mortal([]), reason="needs setpriv, which makes a process end with its parent")
def test_an_engine_does_not_outlive_a_killed_parent():
    port = free_port()
    command = [sys.executable, str(STAND_IN), "--notes", "notes", "--port", str(port)]
    program = (
        "import sys; from pathlib import Path; from src.llm.launcher import Launcher\n"
        f"engine = Launcher({command}, port={port}, log=Path('log'))\n"
        "engine.start(); engine.wait(); print('ready', flush=True); engine.wait_failed()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: gone(lives()[0]["pid"]))
    assert os.getpid() not in {life["pid"] for life in lives()}
