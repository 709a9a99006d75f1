"""A trainer whose model is shared out trains, saves and goes on as it would have with the whole."""

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from src.core.errors import ConfigError


@pytest.fixture
def group(tmp_path):
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def trainer(tiny, tmp_path):
    """A function that makes the trainer of all weights, for so many steps."""
    import datasets
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    def make(steps):
        arguments = TrainingArguments(
            output_dir=(tmp_path / "checkpoints").as_posix(),
            max_steps=steps,
            save_steps=2,
            logging_steps=1,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            per_device_train_batch_size=2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        rows = datasets.Dataset.from_list([{"input_ids": [n + 5, n + 6, n + 7], "labels": [n + 5, n + 6, n + 7]} for n in range(20)])
        return Trainer(model=AutoModelForCausalLM.from_pretrained(tiny), args=arguments, train_dataset=rows)

    return make


def losses(trainer):
    return [each["loss"] for each in trainer.state.log_history if "loss" in each]


def norms(trainer):
    return [float(each["grad_norm"]) for each in trainer.state.log_history if "grad_norm" in each]


def test_a_share_trains_saves_and_goes_on_as_the_whole_does(trainer, group, tmp_path):
    from src.train.sharding import shard

    whole = trainer(4)
    whole.train()
    weights = load_file(tmp_path / "checkpoints" / "checkpoint-4" / "model.safetensors")

    shared = trainer(4)
    shard(shared)
    assert all(type(each).__name__ == "DTensor" for each in shared.model.parameters())
    assert len({id(each) for each in shared.model.modules() if type(each).__name__.startswith("FSDP")}) == 3  # two layers and the rest
    shared.train()
    assert losses(shared) == pytest.approx(losses(whole), abs=1e-6)
    assert norms(shared) == pytest.approx(norms(whole), rel=1e-4)
    saved = load_file(tmp_path / "checkpoints" / "checkpoint-4" / "model.safetensors")
    assert saved.keys() == weights.keys()
    for name, weight in saved.items():
        torch.testing.assert_close(weight, weights[name], atol=1e-6, rtol=1e-5)

    resumed = trainer(4)
    shard(resumed)
    resumed.train(resume_from_checkpoint=(tmp_path / "checkpoints" / "checkpoint-2").as_posix())
    assert losses(resumed)[-2:] == losses(shared)[-2:]
    again = load_file(tmp_path / "checkpoints" / "checkpoint-4" / "model.safetensors")
    assert all(torch.equal(weight, saved[name]) for name, weight in again.items())


def test_an_optimizer_that_knows_no_shares_is_refused(project):
    with pytest.raises(ConfigError, match="adamw_8bit knows no shares of a model: set it to adamw_torch_fused"):
        project("train.lora=null", "train.quantization=none", "train.launch.processes=2", "train.optimizer=adamw_8bit")
