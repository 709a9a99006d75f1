"""A vLLM that sleeps while its model is not wanted, against a stand-in: no GPU was at hand."""

import os
import signal
from pathlib import Path

import pytest

from src.core.errors import MlxError


@pytest.fixture
def pair(lora, monkeypatch):
    """Settings of two models on room for one."""
    monkeypatch.setattr("src.models.load.pick_device", lambda device: "cuda:0")
    part = {"type": "vllm", "executable": lora.program, "model": lora.own, "when_unloaded": "sleep", "vram_gb": 1, "retries": 0}
    return {"models": {"one": part, "two": part}, "residency": {"vram_gb": 1.5, "linger": 0, "batch": 0}}


def posts(lora):
    return [row["post"] for row in lora.notes() if "post" in row]


def config(lora, pair):
    return lora.config().model_validate({**lora.config().model_dump(exclude_unset=True), "engine": None, **pair})


def test_it_sleeps_for_another_and_wakes_without_a_start(lora, pair):
    with lora.running(config(lora, pair)) as address:
        for name in ("one", "two", "one", "two", "one"):
            assert lora.ask(address, name)[0] == 200, "whoever is asked is awake"
    lives = lora.notes(dynamic=False)
    assert len(lives) == 2 and all("--enable-sleep-mode" in life["argv"] for life in lives)
    assert posts(lora) == ["/sleep?level=1", "/sleep?level=1", "/wake_up", "/sleep?level=1", "/wake_up", "/sleep?level=1", "/wake_up"]


def test_one_that_does_not_fall_asleep_is_ended(lora, pair):
    Path("refuses_sleep").touch()
    with lora.running(config(lora, pair)) as address:
        assert lora.ask(address, "one")[0] == 200
        (life,) = lora.notes(dynamic=False)
        assert lora.ask(address, "two")[0] == 200
        with pytest.raises(ProcessLookupError):
            os.kill(life["pid"], 0)
        Path("refuses_sleep").unlink()
        assert lora.ask(address, "one")[0] == 200
    assert len(lora.notes(dynamic=False)) == 3


def test_one_that_does_not_wake_is_started_anew(lora, pair):
    with lora.running(config(lora, pair)) as address:
        assert [lora.ask(address, name)[0] for name in ("one", "two")] == [200, 200]
        Path("refuses_sleep").touch()
        assert lora.ask(address, "one")[0] == 200
    assert len(lora.notes(dynamic=False)) == 3


def test_one_that_dies_asleep_is_not_started_into_the_memory_of_another(lora, pair):
    with lora.running(config(lora, pair)) as address:
        assert [lora.ask(address, name)[0] for name in ("one", "two")] == [200, 200]
        sleeping = lora.notes(dynamic=False)[0]["pid"]
        os.kill(sleeping, signal.SIGKILL)
        lora.web.until(lambda: not Path(f"/proc/{sleeping}").exists())
        assert lora.ask(address, "two")[0] == 200 and len(lora.notes(dynamic=False)) == 2
        assert lora.ask(address, "one")[0] == 200 and len(lora.notes(dynamic=False)) == 3


def test_without_a_gpu_it_is_refused_in_words(lora, pair, monkeypatch):
    monkeypatch.setattr("src.models.load.pick_device", lambda device: "cpu")
    with pytest.raises(MlxError, match="one: vLLM cannot sleep without a CUDA device"):
        lora.gateway(config(lora, pair))
