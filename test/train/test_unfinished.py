"""A training that was stopped is not thrown away because a setting or the dataset changed."""

import json
import signal
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.stage import folder
from src.train import train
from src.train.unfinished import SETTINGS

OUTPUT = folder("t", "train")


@pytest.fixture
def stopped(project, monkeypatch):
    """A function that trains, and stops the training after its third step."""
    from src.train.monitor import Monitor

    begin = Monitor.on_step_begin

    def press(self, args, state, control, **rest):
        if state.global_step == 2:
            signal.raise_signal(signal.SIGTERM)
        begin(self, args, state, control, **rest)

    def stop(*overrides):
        with monkeypatch.context() as patched:
            patched.setattr(Monitor, "on_step_begin", press)
            with pytest.raises(KeyboardInterrupt):
                train(project(*overrides))

    return stop


def test_other_settings_are_refused_by_name_and_begin_anew_when_forced(project, stopped, rewrite, made, caplog):
    stopped("train.max_steps=4")
    before = {each.name for each in (OUTPUT / ".work").iterdir()}
    with pytest.raises(MlxError) as refused:
        train(project("train.max_steps=4", "train.learning_rate=1e-3", "train.lora.r=8", "seed=6", "train.save_steps=2"))
    assert str(refused.value).split("\n") == [
        "a training stopped after step 3 was made from something else:",
        "  train.lora.r: 4 → 8",
        "  train.learning_rate: 0.005 → 0.001",
        "  seed: 5 → 6",
    ]
    assert "--force" in refused.value.hint
    rewrite(train=[made(n) for n in range(41)], validation=[made(60)])
    with pytest.raises(MlxError, match=r"the content of the dataset: [0-9a-f]{16} → [0-9a-f]{16}"):
        train(project("train.max_steps=4"))
    assert {each.name for each in (OUTPUT / ".work").iterdir()} == before  # a refusal leaves nothing behind
    train(project("train.max_steps=4"), force=True)
    assert "beginning anew: the content of the dataset" in caplog.text
    assert "the 3 steps made before that stay in" in caplog.text
    assert not (OUTPUT / ".work").exists()
    train(project("train.max_steps=2", "train.lora.r=8"))  # with nothing to lose there is nothing to ask


def test_a_base_that_changed_and_other_versions_are_said(project, stopped, caplog):
    stopped("train.max_steps=4")
    [work] = (OUTPUT / ".work").iterdir()
    weights = Path("tiny/generation_config.json")
    weights.write_text(weights.read_text() + "\n")
    with pytest.raises(MlxError, match=r"the files of train.model"):
        train(project("train.max_steps=4"))
    Path("tiny/generation_config.json").write_text("{}")
    settings = json.loads((work / SETTINGS).read_text())
    settings["versions"]["torch"] = "2.0.0"
    from src.core.run import Run
    from src.train.unfinished import check_unfinished

    (work / SETTINGS).write_text(json.dumps(settings))
    run = Run(stage="train", name="t", seed=5, output=work / "output", work=work, cache=work, inputs={})
    check_unfinished(project("train.max_steps=4").section("train"), run)
    assert "other versions than it began with, so its numbers may differ slightly: torch: 2.0.0 →" in caplog.text
