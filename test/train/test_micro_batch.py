"""`micro_batch: auto`: chosen, proven, and without a trace in what is trained."""

import json
from pathlib import Path

import pytest
import torch

from src.core.errors import MlxError
from src.core.manifest import Manifest
from src.train import train
from src.train.micro_batch import FILE


@pytest.fixture
def fails(monkeypatch):
    """A function that makes the GPU full, as its allocator says it, from a number of sequences on; returns what was tried."""
    from trl import SFTTrainer

    tried, whole = [], SFTTrainer.compute_loss

    def arrange(least, error):
        def compute_loss(self, model, inputs, *args, **kwargs):
            size = int((inputs["position_ids"] == 0).sum()) if self.padding_free else len(inputs["input_ids"])
            tried.append(size)
            found = whole(self, model, inputs, *args, **kwargs)
            if size >= least:
                raise error
            return found

        monkeypatch.setattr(SFTTrainer, "compute_loss", compute_loss)
        return tried

    return arrange


def trained(project, curve, *overrides):
    manifest = train(project(*overrides))
    return curve(), manifest.info


def same_numbers(one, other):
    names = ("step", "loss", "grad_norm", "learning_rate", "tokens", "tokens_all")
    return [[row.get(name) for name in names] for row in one if "loss" in row] == [
        [row.get(name) for name in names] for row in other if "loss" in row
    ]


def test_auto_trains_as_the_number_it_comes_to_does(project, curve):
    # in fp32: whatever the probe left in weights, random state or optimizer would show in the first digits
    common = ("train.quantization=none", "train.max_steps=5", "train.lora.dropout=0.1", "train.packing=false")
    auto, info = trained(project, curve, "train.micro_batch=auto", *common)
    size = info["micro_batch"]
    assert size > 1
    assert Manifest.read(Path("checkpoint/t/train")).config["micro_batch"] == "auto"
    explicit, _ = trained(project, curve, f"train.micro_batch={size}", *common)
    assert same_numbers(auto, explicit)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_full_memory_costs_a_notch_and_not_the_run(project, curve, fails, error, caplog):
    caplog.set_level("INFO", "mlx.train")
    common = ("train.quantization=none", "train.max_steps=4", "train.lora.dropout=0.1", "train.packing=false")
    explicit, _ = trained(project, curve, "train.micro_batch=2", *common)
    tried = fails(4, error)
    auto, info = trained(project, curve, "train.micro_batch=auto", *common)
    assert info["micro_batch"] == 2
    assert tried[:4] == [4, 2, 2, 2]
    assert same_numbers(auto, explicit)
    assert "micro_batch 4: the memory is full" in caplog.text
    assert "auto is 2 × 2" in caplog.text


def test_another_error_in_the_probe_is_no_full_memory(project, fails):
    fails(1, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        train(project("train.micro_batch=auto", "train.quantization=none"))


def test_where_one_sequence_does_not_fit_the_way_out_is_named(project, fails):
    fails(1, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(MlxError, match="full with one sequence of 160 tokens") as error:
        train(project("train.micro_batch=auto", "train.quantization=none", "train.packing=false"))
    assert "mlx plan" in error.value.hint


def test_what_was_chosen_stays_when_the_training_goes_on(project, fails, monkeypatch):
    from src.train.monitor import Monitor

    tried = fails(4, torch.OutOfMemoryError("CUDA out of memory"))
    asked = project("train.micro_batch=auto", "train.quantization=none", "train.packing=false", "train.max_steps=6", "train.save_steps=2")
    whole = Monitor.on_step_begin

    def killed(self, args, state, *rest, **kwargs):
        if state.global_step == 4:
            raise SystemExit(137)
        return whole(self, args, state, *rest, **kwargs)

    monkeypatch.setattr(Monitor, "on_step_begin", killed)
    with pytest.raises(SystemExit):
        train(asked)
    (note,) = Path("checkpoint/t/train/.work").glob(f"*/{FILE}")
    assert json.loads(note.read_text()) == {"micro_batch": 2, "proven": True}
    monkeypatch.setattr(Monitor, "on_step_begin", whole)
    tried.clear()
    manifest = train(asked)
    assert manifest.info["micro_batch"] == 2
    assert set(tried) == {2}


def test_a_model_without_a_plan_is_left_to_the_probe(project, monkeypatch):
    monkeypatch.setattr("src.train.planning.architecture.FAMILIES", {})
    manifest = train(project("train.micro_batch=auto", "train.quantization=none", "train.packing=false", "train.max_steps=2"))
    assert manifest.info["micro_batch"] == 4


def test_auto_is_the_only_word(project):
    with pytest.raises(MlxError, match="micro_batch"):
        project("train.micro_batch=many")
