"""The search: what it tries, what a kill leaves, what it writes down. Trials here are a formula, but for where it says so."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from src.core.errors import ConfigError, MlxError
from src.core.manifest import Manifest
from src.tune import search, tune
from src.tune.variant import variant

ROOT = Path(__file__).parents[2]
SPACE = {"train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "train.lora.r": [2, 4, 8]}
OUTPUT = Path("data/t/tune")


def formula(settings):
    """Best at a learning rate of 1e-2 and r 8."""
    return abs(math.log10(settings["train.learning_rate"]) + 2) + 1 / settings["train.lora.r"]


@pytest.fixture
def trials(monkeypatch):
    """Trials that are a formula; a list of what was tried."""
    tried = []

    def run(project, settings, objective, *, report):
        variant(project, settings)
        tried.append(settings)
        value = formula(settings)
        for share in (3, 2, 1.5, 1.2, 1):
            if report(value * share):
                return None
        return value

    monkeypatch.setattr(search, "run_trial", run)
    return tried


def rows():
    return list(csv.DictReader((OUTPUT / "trials.csv").read_text().splitlines()))


def test_it_begins_with_the_configs_own_settings_and_betters_them(project, trials):
    found = tune(project(space=SPACE, trials=12))
    assert trials[0] == {"train.learning_rate": 5e-3, "train.lora.r": 4}
    assert found.default == pytest.approx(formula(trials[0])) and found.value < found.default
    assert "the config's own" in found.table
    assert len(rows()) == 12 and {row["state"] for row in rows()} == {"done", "given up"}, "hopeless trials are given up"
    for name in ("history.png", "importance.png", "slices.png"):
        assert (OUTPUT / name).read_bytes().startswith(b"\x89PNG")


def test_the_best_config_is_a_project_that_runs(project, trials):
    from src.pipeline import load_project

    found = tune(project("train.max_steps=7", space=SPACE, trials=4, settings={"train.max_steps": 3}))
    best = min(trials, key=formula)
    section = load_project(found.best).section("train")
    assert (section.learning_rate, section.lora.r) == (best["train.learning_rate"], best["train.lora.r"])
    assert section.max_steps == 7, "what shortens trials is no part of it"
    assert found.best.read_text().startswith("# The best of a search over t.yaml: train.validation_loss")


def test_raised_trials_go_on_and_the_same_search_does_nothing(project, trials):
    tune(project(space=SPACE, trials=3))
    tune(project(space=SPACE, trials=3))
    assert len(trials) == 3
    tune(project(space=SPACE, trials=5))
    assert len(trials) == 5 and len(rows()) == 5


def test_other_settings_are_another_search(project, trials):
    tune(project(space=SPACE, trials=2))
    tune(project("train.effective_batch=8", space=SPACE, trials=2))
    assert len(trials) == 4
    tune(project("train.learning_rate=1e-3", space=SPACE, trials=2))
    assert len(trials) == 4, "what is searched is no part of what the trials have in common"


def test_a_search_that_was_stopped_tries_what_an_undisturbed_one_does(project, trials, monkeypatch):
    tune(project(space=SPACE, trials=7, pruner="none"))
    undisturbed = list(trials)
    (OUTPUT / "study.db").unlink()
    trials.clear()
    run = search.run_trial

    def stopped(project, settings, objective, *, report):
        if len(trials) == 4:
            raise KeyboardInterrupt
        return run(project, settings, objective, report=report)

    monkeypatch.setattr(search, "run_trial", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(project(space=SPACE, trials=7, pruner="none"))
    monkeypatch.setattr(search, "run_trial", run)
    tune(project(space=SPACE, trials=7, pruner="none"))
    assert trials == undisturbed
    assert len(rows()) == 7


def test_settings_that_fail_are_named_and_the_search_goes_on(project, trials):
    found = tune(project(space={"train.micro_batch": [1, 3]}, trials=8, settings={"train.learning_rate": 1e-2, "train.lora.r": 2}))
    bad = next(row for row in rows() if row["state"] == "failed")
    assert bad["train.micro_batch"] == "3" and "effective_batch 4 is no multiple of micro_batch 3" in bad["why"]
    assert found.value == pytest.approx(0.5)


@pytest.fixture(autouse=True)
def formula_of_one(monkeypatch):
    """A formula for searches over other keys."""
    whole = formula
    monkeypatch.setitem(globals(), "formula", lambda settings: whole({"train.lora.r": 4, "train.learning_rate": 1e-2, **settings}))


def test_nothing_but_failures_stops_it(project, monkeypatch):
    from src.tune.trial import Failed

    def fail(*_, **__):
        raise Failed("no memory")

    monkeypatch.setattr(search, "run_trial", fail)
    with pytest.raises(MlxError, match="the first 3 trials failed, the last with: no memory"):
        tune(project(space=SPACE, trials=9))


def test_equal_settings_are_not_tried_twice(project, trials):
    tune(project(space={"train.lora.r": [4, 8]}, trials=6))
    assert len(trials) == 2 and len(rows()) == 6


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"space": {"train.lora.rr": [1, 2]}}, "t.yaml:.*train.lora.rr.*did you mean 'r'"),
        ({"space": {"train.learning_rate": {"low": -1.0, "high": 1.0}}}, "train.learning_rate: .*greater than 0"),
        ({"space": {"serve.port": [1, 2]}}, "'serve.port' is no key of a stage up to eval"),
        ({"space": {"train.lora.r": {"low": 8, "high": 2}}}, "low 8 is not below high 2"),
        ({"space": {"train.lora.r": [4, 8]}, "settings": {"train.lora.r": 4}}, "in `space` and in `settings`"),
        ({"space": {"train.learning_rate": {"low": 0.0, "high": 1.0, "log": True}}}, "needs a low above 0"),
        ({"space": {"train.lora.r": [4]}}, "at least 2"),
    ],
)
def test_faults_are_found_before_the_first_trial(project, trials, section, says):
    with pytest.raises(ConfigError, match=says):
        tune(project(**section))
    assert trials == []


def test_an_objective_needs_its_section(project, trials):
    with pytest.raises(MlxError, match="no section `eval:`"):
        tune(project(space=SPACE, objective="eval.perplexity"))


def test_values_outside_the_space_are_said_to_be_no_comparison(project, trials, caplog):
    found = tune(project(space={"train.lora.r": [8, 16]}, trials=2))
    assert found.default is None and "outside tune.space" in caplog.text


def test_lists_can_be_chosen(project, trials):
    found = tune(project(space={"train.lora.targets": ["all-linear", ["q_proj", "v_proj"]]}, trials=8))
    assert [settings["train.lora.targets"] for settings in trials] == ["all-linear", ("q_proj", "v_proj")]
    assert yaml.safe_load(found.best.read_text())["train"]["lora"]["targets"] == "all-linear"


def test_a_storage_that_cannot_be_opened_is_said_without_its_password(project, monkeypatch):
    monkeypatch.setenv("TUNE_STORAGE", "sqlite:////nowhere/at/all/study.db")
    with pytest.raises(MlxError, match=r"tune\.storage cannot be opened"):
        tune(project(space=SPACE))


@pytest.mark.slow
def test_real_trials_survive_kill_9_and_leave_the_best_one(project, tmp_path):
    project(space=SPACE, trials=3, settings={"train.max_steps": 4, "train.eval_steps": 1})
    command = [sys.executable, "-m", "src", "tune", "t.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    for line in first.stderr:
        if "trial 0:" in line:
            break
    while len(list(Path("checkpoint/t/tune").glob("*/train/.work"))) < 1:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "going on after 1 trials" in again.stderr
    found = rows()
    assert len(found) == 3 and found[0]["train.learning_rate"] == "0.005"
    done = [row for row in found if row["state"] == "done"]
    best = min(done, key=lambda row: float(row["train.validation_loss"]))
    [kept] = Path("checkpoint/t/tune").glob("*/train/manifest.json")
    assert Manifest.read(kept.parent).config["lora"]["r"] == int(best["train.lora.r"])
    assert Manifest.read(kept.parent).info["validation_loss"] == float(best["train.validation_loss"])
