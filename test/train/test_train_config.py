"""The config's own checks, and what it costs to import."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.core.errors import ConfigError
from src.train import train

HEAVY = ("torch", "transformers", "trl", "peft", "polars", "datasets", "numpy", "tensorboard")
REFUSED = (
    "train.lora.targets=[q_prj]",
    "train.lora.targets=[]",
    "train.lora.r=1024",
    "train.learning_rate=0",
    "train.warmup=1",
    "train.optimizer=adam",
)


def load(*overrides):
    Path("p.yaml").write_text("name: p\nbuild: {}\ntrain: {model: scratch}\n")
    return train.load("p.yaml", *overrides).section("train")


def test_defaults_are_qlora_with_packing():
    config = load()
    assert (config.quantization, config.lora.r, config.lora.alpha, config.packing, config.sequence_length) == ("nf4", 16, 32, True, 4096)
    assert config.accumulation == 16


def test_batches_that_do_not_divide_name_both_keys_and_the_way_out():
    with pytest.raises(ConfigError) as error:
        load("train.effective_batch=10", "train.micro_batch=4")
    fault = str(error.value)
    assert "effective_batch 10 is no multiple of micro_batch 4" in fault
    assert "set effective_batch to 8 or 12, or micro_batch to one of 1, 2, 5, 10" in fault


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_work_is_refused(fault):
    with pytest.raises(ConfigError):
        load(fault)


def test_what_changes_no_byte_leaves_the_output_fresh():
    from src.core.config import essence

    assert essence(load("train.save_steps=7", "train.log_steps=3", "train.track=[]")) == essence(load())
    assert essence(load("train.lora.r=8")) != essence(load())


def test_importing_it_is_light_and_needs_no_polars():
    code = f"import sys, src.train; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert found.stdout.strip() == "[]"
