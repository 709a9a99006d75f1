"""A training that was killed or stopped goes on to the result of an undisturbed one."""

import os
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from src.core.stage import folder
from src.train import train

ROOT = Path(__file__).parents[2]
OUTPUT = folder("t", "train")

# kill -9 in the worst moment: the second checkpoint is written, but not yet marked as whole; on a box without polars
KILLED = """
import os, signal, sys
sys.modules["polars"] = None
from src.core.log import console
from src.train import train
from src.models.libraries import routed
with routed():
    from src.train import checkpoints

mark = checkpoints.MarkWhole.on_save
def on_save(self, args, state, control, **rest):
    if state.global_step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    mark(self, args, state, control, **rest)

checkpoints.MarkWhole.on_save = on_save
console()
train(train.load("t.yaml", "train.save_steps=2"))
"""


def result(curve):
    return curve(), (OUTPUT / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, prepare, curve):
    """The curve and the adapter of a training that nothing disturbed."""
    place = tmp_path_factory.mktemp("undisturbed")
    prepare(place)
    with chdir(place):
        train(train.load("t.yaml"))
        steps = [row["epoch"] for row in curve() if "epoch" in row]
        assert sum(epoch <= 1 for epoch in steps) == 7  # what the steps below are chosen by
        return result(curve)


def test_kill_9_and_again_is_the_same_run(project, curve, undisturbed):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-W", "error", "-c", KILLED], env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    [work] = (OUTPUT / ".work").iterdir()
    assert {each.name for each in (work / "checkpoints").glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-8"}
    assert [row["step"] for row in curve(work)][-1] == 8
    shown = [line.strip() for line in killed.stderr.replace("\r", "\n").split("\n")]
    assert [line for line in shown if line and not line.startswith(("mlx.train: ", "train: "))] == []  # nothing of the libraries' own
    assert not (OUTPUT / "manifest.json").exists()
    train(project())
    assert result(curve) == undisturbed


@pytest.mark.parametrize("step", [7, 9])  # at the end of the first epoch of seven steps, and within the second
def test_ctrl_c_keeps_the_step_and_the_next_run_goes_on(project, curve, undisturbed, monkeypatch, caplog, step):
    from src.train.monitor import Monitor

    begin = Monitor.on_step_begin

    def press(self, args, state, control, **rest):
        if state.global_step == step - 1:
            signal.raise_signal(signal.SIGINT)
        begin(self, args, state, control, **rest)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "on_step_begin", press)
        with pytest.raises(KeyboardInterrupt):
            train(project())
    assert f"stopped after step {step}: the same command goes on from there" in caplog.text
    train(project())
    assert f"going on from step {step}" in caplog.text
    assert result(curve) == undisturbed


def test_a_kill_after_the_last_step_trains_no_more(project, curve, undisturbed, monkeypatch):
    from src.train import output, sft

    with monkeypatch.context() as patched:
        patched.setattr(output, "plot", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            train(project())
    monkeypatch.setattr(sft, "make_trainer", None)  # would fail if it were called
    train(project())
    assert result(curve) == undisturbed
