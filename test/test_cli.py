"""The command as a user types it: what it prints, where, and what it exits with."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.stage import folder

PROJECT = """name: demo
scrape:
  sources: [{type: files, path: corpus}]
  languages: [en]
dedup: {}
build:
  persona: {author: Pip}
  sources: [{type: passages, tokens: 64, min_words: 5}]
"""


@pytest.fixture
def project():
    Path("corpus").mkdir()
    rows = [
        {
            "text": f"The old lamp number {n} burned bright over the harbour all night. Nobody could say why it never went out.",
            "author": "Pip",
        }
        for n in ("one", "two", "three", "four")
    ]
    rows.append({**rows[0]})
    Path("corpus/a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{broken\n")
    Path("corpus/b.txt").write_text("Le marché du samedi se tient sur la place devant l'église, de sept heures à treize heures.")
    Path("config").mkdir()
    Path("config/main.yaml").write_text(PROJECT)


@pytest.fixture
def mlx(command):
    return command


def test_a_run_ends_with_everything_fresh_and_a_second_one_does_nothing(mlx, project):
    code, _, err = mlx("run", "--until", "build")
    assert code == 0, err
    assert "mlx.scrape: 7 read, 5 kept, 2 dropped (bad_json 1, language 1)" in err
    assert "mlx.dedup: 5 read, 4 kept, 1 dropped (exact_duplicate 1)" in err
    code, out, _ = mlx("status")
    assert [line.split()[-1] for line in out.splitlines()[2:]] == ["fresh"] * 3
    assert mlx("run", "--until", "build")[2].count("is up to date") == 3


def test_status_and_dry_run_say_what_is_stale_and_why(mlx, project):
    out = mlx("run", "--dry-run")[1]
    assert out.splitlines() == ["scrape   would run: not run yet", "dedup    would run: not run yet", "build    would run: not run yet"]
    mlx("run", "--until", "build")
    out = mlx("status", "config/main.yaml", "dedup.threshold=0.5")[1]
    assert "stale: threshold: 0.8 → 0.5" in out
    assert "stale: dedup is stale" in out
    assert "seed 42 → 7" in mlx("status", "seed=7")[1]
    Path("corpus/c.txt").write_text("A third file.")
    assert "a file it read changed" in mlx("status")[1]
    assert "scrape   would run: a file it read changed" in mlx("run", "--dry-run")[1]
    assert mlx("run", "--dry-run", "--from", "dedup", "--until", "dedup")[1] == "dedup    would run: scrape is stale\n"
    mlx("scrape")
    assert mlx("run", "--dry-run", "--force", "--until", "scrape")[1] == "scrape   would run: --force\n"


def test_a_stage_whose_input_was_made_again_with_other_content_is_stale(mlx, project):
    mlx("run", "--until", "dedup")
    Path("corpus/a.jsonl").write_text(
        json.dumps({"text": "Something else altogether stands here now, and at some length.", "author": "Pip"})
    )
    mlx("scrape")
    assert "its records input changed" in mlx("status")[1]


def test_from_and_until_choose_stages(mlx, project):
    code, _, err = mlx("run", "--from", "dedup", "--until", "dedup")
    assert (code, "is not a finished output" in err, "hint: run `mlx scrape config/main.yaml` first" in err) == (2, True, True)
    assert "'biuld' is no stage" in mlx("run", "--until", "biuld")[2]
    assert "has no stage from train to eval" in mlx("run", "--from", "train")[2]


def test_why_tells_the_life_of_a_row(mlx, project):
    mlx("run", "--until", "build")
    out = mlx("why", "corpus/a.jsonl:5")[1]
    assert out.splitlines()[0].startswith("scrape: kept")
    dropped = mlx("why", "corpus/a.jsonl:6")[1]
    assert "scrape: dropped: bad_json" in dropped
    twins = mlx("why", "corpus/a.jsonl:1")[1] + out
    assert "dedup: dropped: exact_duplicate" in twins
    assert "examples in train" in mlx("why", "corpus/a.jsonl:2")[1] or "examples in" in mlx("why", "corpus/a.jsonl:3")[1]
    code, _, err = mlx("why", "a.jsonl:2")
    assert (code, "did you mean corpus/a.jsonl:2" in err) == (2, True)


def test_preview_shows_rows(mlx, project):
    code, out, err = mlx("build", "--preview", "1")
    assert code == 2, "its input is not there yet"
    mlx("run", "--until", "dedup")
    code, out, err = mlx("build", "--preview", "1")
    assert code == 0, err
    assert "lamp" in out


def test_config_show_names_every_origin(mlx, project, monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    out = mlx("config", "show", "config/main.yaml", "dedup.threshold=0.7")[1]
    lines = {line.split(":", 1)[0]: line for line in out.splitlines()}
    assert lines["name"].endswith("# config/main.yaml:1")
    assert lines["log_level"].endswith("# environment LOG_LEVEL")
    assert lines["dedup.threshold"].endswith("# command line")
    assert lines["seed"].endswith("# default")
    assert lines["scrape.sources.0.path"].endswith("# config/main.yaml:3")
    assert lines["scrape.sources.0.recursive"].endswith("# default")
    out = mlx("config", "show", "scrape.sources=[{type: files, path: elsewhere}]")[1]
    assert [line.split("# ")[1] for line in out.splitlines() if line.startswith("scrape.sources.0.path")] == ["command line"]


def test_the_schema_is_json(mlx):
    assert json.loads(mlx("config", "schema")[1])["properties"]["name"]


def test_help_lists_the_keys_of_a_section(mlx):
    out = mlx("dedup", "--help")[1]
    assert "dedup.threshold = 0.8" in out
    assert mlx("--version")[1].startswith("mlx ")
    assert "scrape   " in mlx("--help")[1]


def test_mistakes_come_together_and_without_a_traceback(mlx, project):
    Path("config/main.yaml").write_text(PROJECT + "dedup: {treshold: 2}\nevl: 1\n")
    code, _, err = mlx("run", "oops=1")
    assert code == 2
    assert "config/main.yaml:9: dedup: given twice" in err
    assert "config/main.yaml:9: dedup.treshold: no such key; did you mean 'threshold'?" in err
    assert "config/main.yaml:10: evl: no such key; did you mean 'eval'?" in err
    assert "command line: oops: no such key" in err
    assert "Traceback" not in err
    assert "is no KEY=VALUE" in mlx("run", "config/main.yaml", "config/other.yaml")[2]
    assert "no such file; did you mean 'config/main.yaml'?" in mlx("run", "config/mian.yaml")[2]


def test_init_writes_a_file_that_loads(mlx):
    code, out, err = mlx("init", "mine")
    assert code == 0, err
    assert "config/mine.yaml is there" in out
    assert mlx("status", "config/mine.yaml")[0] == 0


def test_doctor_never_prints_a_key(mlx, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-42")
    out = mlx("doctor")[1]
    assert "OPENAI_API_KEY" in out
    assert "canary" not in out


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MlxError("key sk-canary-42 is wrong", "mend it"), 2, "error: key *** is wrong\nhint: mend it"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "log"), 2, "error: log: Permission denied"),
        (ModuleNotFoundError("No module named 'vllm'", name="vllm"), 2, "uv sync --extra gpu"),
    ],
)
def test_what_a_user_can_mend_is_a_line(mlx, monkeypatch, error, code, says):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-42")

    def broken(*_, **__):
        raise error

    monkeypatch.setattr("src.core.scaffold.scaffold", broken)
    found = mlx("init", "x")
    assert (found[0], says in found[2]) == (code, True), found


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "io"), ModuleNotFoundError("no", name="other")])
def test_a_bug_keeps_its_traceback(mlx, monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("src.core.scaffold.scaffold", broken)
    with pytest.raises(type(error)):
        mlx("init", "x")


def test_a_closed_pipe_is_no_error(project):
    command = f"{sys.executable} -m src config schema | head -c 10"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": ""}
    )
    assert "Traceback" not in done.stderr


def test_an_unfinished_stage_is_called_that(mlx, project):
    (folder("demo", "scrape") / ".work").mkdir(parents=True)
    assert "unfinished" in mlx("status")[1]


def test_a_run_that_cannot_end_here_does_not_begin(mlx, project, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    large = PROJECT + "train: {model: meta-llama/Llama-3.1-8B-Instruct}\n"
    Path("config/main.yaml").write_text(large)
    code, _, err = mlx("run", "--until", "train")
    assert code == 2
    assert "train.model 'meta-llama/Llama-3.1-8B-Instruct' needs a CUDA device: none here" in err
    assert "`mlx run config/main.yaml --until build` does what can be done here" in err
    assert not Path("data").exists()


def test_the_checks_of_a_dataset_run_alone_and_set_the_exit_code(mlx, project):
    code, _, err = mlx("build", "check")
    assert (code, "build.checks is empty" in err) == (2, True)
    checks = "build.checks=[{type: no_empty_turns}, {type: rows, least: %d}]"
    code, _, err = mlx("build", "check", checks % 1)
    assert (code, "mlx build" in err) == (2, True), "nothing is built yet"
    mlx("run", "--until", "build")
    code, out, _ = mlx("build", "check", checks % 1)
    assert (code, "fail" in out.splitlines()[-1]) == (0, False)
    code, out, _ = mlx("build", "check", checks % 1000)
    assert (code, "fail" in out) == (1, True)


def test_an_estimate_asks_nobody(mlx, project):
    mlx("run", "--until", "dedup")
    section = "label={backend: {type: openai, model: m, base_url: 'http://127.0.0.1:9/v1'}, classes: [a, b], price: {input: 1, output: 2}}"
    code, out, err = mlx("label", "--estimate", section)
    assert (code, err) == (0, "")
    assert "4 rows in 4 calls" in out and "at most" in out
    assert not folder("demo", "label").exists()


def test_a_prompt_is_not_looked_for_without_gold(mlx, project):
    mlx("run", "--until", "dedup")
    section = "label={backend: {type: scripted, default: a}, classes: [a, b]}"
    code, _, err = mlx("label", "--optimise", "prompt.yaml", section)
    assert code == 2 and ("label.gold" in err or "--extra dspy" in err)
