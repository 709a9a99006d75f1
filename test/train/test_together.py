"""Several processes train like one, stop like one and die like one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.core.errors import ConfigError
from src.core.stage import folder
from src.track.metrics import read_metrics
from src.train import train

ROOT = Path(__file__).parents[2]
OUTPUT = folder("t", "train")
FLAT = ("train.lora.dropout=0", "train.max_steps=6", "train.eval_steps=3", "train.save_steps=2")


def mlx(*overrides, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "src", "train", "t.yaml", *FLAT, *overrides]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)


def losses():
    return [
        (row["step"], name, row[name])
        for row in read_metrics(OUTPUT / "metrics.jsonl")
        for name in ("loss", "validation_loss", "tokens")
        if name in row
    ]


def workers():
    """Ranks and process ids of this test's workers."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if b"src.train.worker" in (each / "cmdline").read_bytes() and (each / "cwd").resolve() == Path.cwd():
                environment = dict(pair.partition(b"=")[::2] for pair in (each / "environ").read_bytes().split(b"\0"))
                found[int(environment[b"RANK"])] = int(each.name)
        except OSError:
            continue
    return found


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
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
@pytest.mark.parametrize(("quantization", "tolerance"), [("none", 1e-5), ("nf4", 1e-4)])
def test_two_processes_learn_what_one_does(project, quantization, tolerance):
    train(project(*FLAT, f"train.quantization={quantization}"))
    alone = losses()
    both = mlx(f"train.quantization={quantization}", "train.launch.processes=2")
    _, errors = both.communicate()
    assert both.returncode == 0, errors
    together = losses()
    assert [each[:2] for each in together] == [each[:2] for each in alone]
    assert [each[2] for each in together] == pytest.approx([each[2] for each in alone], abs=tolerance)
    assert errors.count("6/6  loss") == 1  # one of them speaks


@pytest.mark.slow
def test_kill_9_of_one_process_ends_all_and_the_next_run_goes_on(project):
    launch = ("train.quantization=none", "train.launch.processes=2")
    undisturbed = mlx(*launch)
    assert undisturbed.wait() == 0, undisturbed.stderr.read()
    expected, weights = losses(), (OUTPUT / "adapter" / "adapter_model.safetensors").read_bytes()
    killed = mlx(*launch, "seed=5", "train.max_steps=6", "--force")
    until(at_step(3))
    os.kill(workers()[1], signal.SIGKILL)
    _, errors = killed.communicate()
    assert killed.returncode == 2
    assert "process 1 of the training was killed by SIGKILL" in errors
    assert workers() == {}
    again = mlx(*launch)
    assert again.wait() == 0, again.stderr.read()
    assert losses() == expected
    assert (OUTPUT / "adapter" / "adapter_model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_ctrl_c_reaches_all_and_kill_9_leaves_no_orphan(project):
    launch = ("train.quantization=none", "train.launch.processes=2", "train.max_steps=400", "train.eval_steps=400", "train.save_steps=400")
    first = mlx(*launch)
    until(at_step(2))
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate()
    assert first.returncode == 130
    assert "the same command goes on from there" in errors
    second = mlx(*launch)
    until(lambda: len(workers()) == 2)
    second.kill()
    second.communicate()
    until(lambda: not workers())
