"""The quickstart as shipped, run once as a user would: what it promises is measured, and a control must not pass."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.files import read_jsonl, write_jsonl

ROOT = Path(__file__).parent.parent
CONFIG = "config/quickstart.yaml"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def mlx(folder, *arguments):
    """Run the command in `folder`, and return it when it has ended."""
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    environment.pop("OMP_NUM_THREADS")
    command = [sys.executable, "-m", "src", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=1500)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which the quickstart has run, and what it printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(ROOT / "config", folder / "config", ignore=shutil.ignore_patterns("local_*"))
    shutil.copytree(ROOT / "notebook", folder / "notebook", ignore=shutil.ignore_patterns("src", ".*"))
    shutil.copytree(ROOT / "python_script/plots", folder / "python_script/plots")
    ended = mlx(folder, "run", CONFIG)
    assert ended.returncode == 0, ended.stderr[-3000:] + ended.stdout
    return folder, ended


def figures(folder, name="quickstart"):
    """The figures of the evaluation, by metric."""
    found = json.loads((folder / f"data/{name}/eval/metrics.json").read_text())
    return {metric["name"]: metric for metric in found["metrics"]}


def test_tuned_beats_base_beyond_the_intervals(done):
    folder, ended = done
    found = figures(folder)
    for metric, sign in (("tool_calls.accuracy", 1), ("perplexity", -1)):
        low, high = found[metric]["difference"]["low"], found[metric]["difference"]["high"]
        assert min(sign * low, sign * high) > 0, (metric, found[metric])
    assert "tool_calls.accuracy" in ended.stdout
    assert [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("  mlx ")] == ["chat", "serve", "status"]


def test_every_stage_had_something_to_say(done):
    folder, _ = done
    for stage in ("scrape", "dedup", "label", "build"):
        counts = json.loads((folder / f"data/quickstart/{stage}/manifest.json").read_text())["counts"]
        assert counts["read"] == counts["kept"] + counts["dropped"]
        assert counts["dropped"] > 0, stage


def test_held_out_rows_show_what_training_never_did(done):
    folder, _ = done
    train = list(read_jsonl(folder / "data/quickstart/build/train.jsonl"))
    test = list(read_jsonl(folder / "data/quickstart/build/test.jsonl"))
    shown = {tag for row in train for tag in row["tags"] if tag.startswith("tool:")}
    held_out = {tag for row in test if "unseen:tool" in row["tags"] for tag in row["tags"] if tag.startswith("tool:")}
    assert held_out
    assert not held_out & shown
    assert {"unseen:values", "unseen:phrasing", "unseen:tool"} <= {tag for row in test for tag in row["tags"]}
    asked = {json.dumps(row["messages"][1]) for row in train}
    assert not any(json.dumps(row["messages"][1]) in asked for row in test if "source:tools" in row["tags"])


def test_a_second_run_does_nothing(done):
    folder, _ = done
    again = mlx(folder, "run", CONFIG)
    assert again.returncode == 0
    assert again.stderr.count("is up to date") == 6
    status = mlx(folder, "status", CONFIG).stdout
    assert [line.split()[-1] for line in status.splitlines()[2:]] == ["fresh"] * 6


def test_a_control_tuned_on_shuffled_answers_does_not_win(done):
    """The same rows, model and settings, but each call stands under the request of another row."""
    folder, _ = done
    shutil.copytree(folder / "data/quickstart", folder / "data/control", ignore=shutil.ignore_patterns("eval"))
    build = folder / "data/control/build"
    rows = list(read_jsonl(build / "train.jsonl"))
    requests = [message for row in rows if "source:tools" in row["tags"] for message in row["messages"] if message["role"] == "user"]
    words = [message["content"] for message in requests]
    random.Random(0).shuffle(words)
    for message, other in zip(requests, words, strict=True):
        message["content"] = other
    write_jsonl(build / "train.jsonl", rows)
    manifest = json.loads((build / "manifest.json").read_text())
    (build / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": "shuffled"}))
    ended = mlx(folder, "run", CONFIG, "name=control", "--from", "train")
    assert ended.returncode == 1, ended.stderr[-3000:] + ended.stdout
    counts = [
        json.loads((folder / f"checkpoint/{name}/train/manifest.json").read_text())["counts"]["kept"] for name in ("quickstart", "control")
    ]
    assert counts[0] == counts[1]
    assert "gate fail: tool_calls.accuracy" in ended.stdout
    accuracy = {name: figures(folder, name)["tool_calls.accuracy"]["models"]["tuned"] for name in ("quickstart", "control")}
    assert accuracy["control"]["high"] < accuracy["quickstart"]["low"], accuracy


@pytest.mark.parametrize(("name", "words", "pictures"), [("01_pipeline", "tool_calls.accuracy", 3), ("02_evaluation", "expected:", 6)])
def test_the_notebooks_run(done, name, words, pictures):
    import nbformat
    from nbclient import NotebookClient

    folder, _ = done
    notebook = nbformat.read(folder / f"notebook/{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder / "notebook")}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert words in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= pictures


def test_the_tuned_model_answers_in_the_terminal(done):
    folder, _ = done
    ended = mlx(folder, "chat", CONFIG, "--message", "Who are you?")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
