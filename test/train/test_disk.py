"""A full disk is one clear error, and costs only the steps since the last checkpoint."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.stage import folder
from src.train import train

OUTPUT = folder("t", "train")
SIZE = 12_000_000


@pytest.fixture
def small_disk():
    """A disk of a few MB where checkpoints go."""
    place = Path("checkpoint").absolute()
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_it_says_so_and_goes_on_once_there_is_room(project, curve, small_disk, monkeypatch):
    from src.train.monitor import Monitor

    settings = ("train.max_steps=6", "train.save_steps=2", "train.eval_steps=3", "train.track=[]")
    train(project(*settings))
    expected = curve()
    shutil.rmtree(small_disk / "t")
    ballast, begin = small_disk / "ballast", Monitor.on_step_begin

    def fill(self, args, state, control, **rest):
        if state.global_step == 3:
            with ballast.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(small_disk).free - 8192)
        begin(self, args, state, control, **rest)

    with monkeypatch.context() as patched, pytest.raises(MlxError) as full:
        patched.setattr(Monitor, "on_step_begin", fill)
        train(project(*settings))
    assert str(full.value).startswith("the disk is full (checkpoint/t/train/.work/")
    assert "then the same command goes on from step 2" in full.value.hint
    [work] = (OUTPUT / ".work").iterdir()
    assert [each.name for each in (work / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]  # the half-written one makes room
    ballast.unlink()
    train(project(*settings))
    assert curve() == expected


@pytest.mark.parametrize(
    "text", ["Error while serializing: I/O error: No space left on device (os error 28)", "PytorchStreamWriter failed writing file"]
)
def test_what_libraries_call_it(text):
    from src.core.run import Run
    from src.train.fit import _disk_full

    run = Run(stage="train", name="t", seed=1, output=Path("o"), work=Path("w"), cache=Path("c"), inputs={})
    assert "goes on from step 0" in _disk_full(run, RuntimeError(text)).hint
    assert _disk_full(run, RuntimeError("shapes do not fit")) is None
