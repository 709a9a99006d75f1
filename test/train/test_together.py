"""Several processes train like one, stop like one and die like one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.core.errors import ConfigError
from src.core.stage import folder
from src.track.metrics import read_metrics
from src.train import train
from src.train.interrupt import DIE_AT
from src.train.together import _wait, _Worker

from .forked import Forked

ROOT = Path(__file__).parents[2]
OUTPUT = folder("t", "train")
FLAT = ("train.lora.dropout=0", "train.max_steps=6", "train.eval_steps=3", "train.save_steps=2", "train.track=[]")
DIES = "RANK_THAT_DIES"
TWO = ("train.quantization=none", "train.launch.processes=2")


@pytest.fixture
def forks(monkeypatch):
    """Workers that start in no time."""
    import src.train.sft
    import src.train.worker  # noqa: F401

    def start(command, *, env, **more):
        return Forked(command, env=env | ({DIE_AT: "5"} if env.get(DIES) == env["RANK"] else {}), **more)

    monkeypatch.setattr("src.train.together.subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))


def mlx(*overrides, start=Forked, flat=FLAT, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-m", "src", "train", "t.yaml", *flat, *overrides]
    return start(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(process):
    """Its exit code and what it said."""
    _, errors = process.communicate()
    return process.returncode, errors


def losses():
    return [
        (row["step"], name, row[name])
        for row in read_metrics(OUTPUT / "metrics.jsonl")
        for name in ("loss", "validation_loss", "tokens")
        if name in row
    ]


def weights():
    return [file.read_bytes() for file in sorted(OUTPUT.glob("*/*.safetensors"))]


def workers():
    """The ranks of this test's workers that are there."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cwd").resolve() == Path.cwd() and (name := (each / "comm").read_text().strip()) in ("rank0", "rank1"):
                found.append(name)
        except OSError:
            continue
    return found


def until(condition, process=None):
    end = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def at_step(number):
    return lambda: any(row["step"] >= number for each in OUTPUT.glob(".work/*/metrics.jsonl") for row in read_metrics(each))


def test_batches_have_to_divide_among_the_processes(project):
    with pytest.raises(
        ConfigError, match=r"effective_batch 4 is no multiple of micro_batch 1 × 3 processes: set effective_batch to 3 or 6"
    ):
        project("train.launch.processes=3")
    with pytest.raises(ConfigError, match=r"node 1 is none of 1"):
        project("train.launch.node=1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "tolerance", "start"),
    [
        (["train.quantization=none"], 1e-5, subprocess.Popen),
        (["train.quantization=nf4"], 1e-4, Forked),
        (["train.quantization=none", "train.lora=null", "train.learning_rate=1e-3"], 1e-5, Forked),
    ],
)
def test_two_processes_learn_what_one_does(project, forks, settings, tolerance, start):
    flat = FLAT[1:] if "train.lora=null" in settings else FLAT
    code, errors = ended(mlx(*settings, "train.launch.processes=2", start=start, flat=flat))
    assert code == 0, errors
    assert errors.count("6/6  loss") == 1  # one of them speaks
    assert Path("log/t/train.log").read_text().count("6/6  loss") == 1
    together = losses()
    train(project(*flat, *settings))
    alone = losses()
    assert [each[:2] for each in together] == [each[:2] for each in alone]
    assert [each[2] for each in together] == pytest.approx([each[2] for each in alone], abs=tolerance)


def test_of_several_that_failed_the_one_that_knows_why_is_named():
    def fell(*codes):
        workers = [_Worker(rank, SimpleNamespace(poll=lambda code=code: code), Path()) for rank, code in enumerate(codes)]
        return _wait(workers).rank

    assert fell(1, -9) == 1  # the other missed it
    assert fell(1, 2, 1) == 1
    assert fell(None, 1) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flat", "settings"), [(FLAT, TWO), (FLAT[1:], (*TWO, "train.lora=null", "train.learning_rate=1e-3"))], ids=["lora", "all weights"]
)
def test_kill_9_of_one_process_ends_all_and_the_next_run_goes_on(project, forks, flat, settings):
    assert ended(mlx(*settings, flat=flat))[0] == 0
    expected, made = losses(), weights()
    assert made
    shutil.rmtree(OUTPUT)
    code, errors = ended(mlx(*settings, flat=flat, **{DIES: "1"}))
    assert code == 2
    assert "process 1 of the training was killed by SIGKILL" in errors
    assert workers() == []
    code, errors = ended(mlx(*settings, flat=flat))
    assert code == 0, errors
    assert "going on from step 4" in errors
    assert losses() == expected
    assert weights() == made


@pytest.mark.slow
def test_ctrl_c_reaches_all_and_kill_9_leaves_no_orphan(project, forks):
    long = (*TWO, "train.max_steps=4000", "train.eval_steps=4000", "train.save_steps=4000")
    first = mlx(*long)
    until(at_step(1), first)
    first.send_signal(signal.SIGINT)
    code, errors = ended(first)
    assert code == 130
    assert "the same command goes on from there" in errors
    second = mlx(*long)
    until(lambda: len(workers()) == 2, second)
    second.kill()
    second.communicate()
    until(lambda: not workers())
