"""What does not go together is said at its own key, before anything runs."""

from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.train import train

REFUSED = {
    "lora.r: vLLM serves ranks up to 512": ("lora.r=1024",),
    "lora.dora: vLLM serves no DoRA": ("lora.dora=true",),
    "lora.modules_to_save: vLLM serves no whole modules but classifier and score: remove lm_head": (
        "lora.modules_to_save=[lm_head, score]",
    ),
    "lora.dora: PEFT cannot take the lengths of int8 weights": ("lora.dora=true", "quantization=int8", "serve_with=transformers"),
    "lora.modules_to_save: q_proj cannot be trained whole": (
        "lora.modules_to_save=[q_proj]",
        "lora.targets=[q_proj]",
        "serve_with=transformers",
    ),
    "lora: null trains all weights, and nf4 ones cannot be": ("lora=null",),
    "optimizer: paged_adamw_32bit pages from the GPU's memory to the host's: set it to adamw_torch": (
        "optimizer=paged_adamw_32bit",
        "device=cpu",
    ),
    "activation_offloading: moves activations": ("activation_offloading=true", "device=cpu"),
    "activation_offloading: only sft, dpo and causal pretrain": (
        "task=pretrain",
        "pretrain.objective=masked",
        "activation_offloading=true",
    ),
    "attention: varlen needs a GPU": ("attention=varlen", "device=cpu"),
    "attention: flash_attention_2 computes in bf16": ("attention=flash_attention_2", "precision=fp32"),
    "scheduler: cosine_with_min_lr needs its end": ("scheduler=cosine_with_min_lr",),
    "scheduler: warmup_stable_decay needs the length": ("scheduler=warmup_stable_decay",),
    "dpo: means nothing with task sft": ("dpo.beta=0.2",),
    "dpo.loss: exo_pair takes the logarithm": ("task=dpo", "dpo.loss=exo_pair"),
    "dpo.label_smoothing: sigmoid smooths nothing": ("task=dpo", "dpo.label_smoothing=0.1"),
    "packing: task dpo packs nothing": ("task=dpo", "packing=true"),
    "too_long: task dpo drops pairs that are too long": ("task=dpo", "too_long=truncate"),
    "too_long: task classify has train.classify.too_long": ("task=classify", "too_long=truncate"),
    "too_long: task pretrain cuts long documents into pieces": ("task=pretrain", "too_long=split"),
}


def load(*overrides):
    Path("p.yaml").write_text("name: p\nbuild: {}\ntrain:\n  model: scratch\n")
    return train.load("p.yaml", *(f"train.{each}" for each in overrides)).section("train")


@pytest.mark.parametrize("why", REFUSED)
def test_it_is_refused_at_its_key(why):
    with pytest.raises(ConfigError) as error:
        load(*REFUSED[why])
    assert f": train.{why}" in str(error.value)


def test_all_conflicts_come_at_once_each_with_its_line():
    Path("p.yaml").write_text("name: p\nbuild: {}\ntrain:\n  model: scratch\n  patience: 2\n  lora:\n    dora: true\n    r: 600\n")
    with pytest.raises(ConfigError) as error:
        train.load("p.yaml")
    assert [line.partition(": ")[0] for line in str(error.value).split("\n")] == ["p.yaml:5", "p.yaml:7", "p.yaml:8"]


def test_who_does_not_serve_with_vllm_says_so():
    config = load("lora.r=1024", "lora.dora=true", "lora.modules_to_save=[lm_head]", "serve_with=transformers")
    assert (config.lora.r, config.lora.dora) == (1024, True)
    assert load("lora.modules_to_save=[score]").lora.modules_to_save == ("score",)


def test_the_ranks_are_those_of_vllm():
    from src.llm.vllm import _RANKS
    from src.train.compatibility import VLLM_RANK

    assert max(_RANKS) == VLLM_RANK


def test_the_rate_suits_what_is_trained():
    assert load().rate == 2e-4
    assert load("lora=null", "quantization=none").rate == 2e-5
    assert load("task=dpo").rate == 5e-6
    assert load("task=dpo", "learning_rate=1e-5").rate == 1e-5


def test_a_machine_without_a_gpu_says_what_needs_one(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (Path("tiny")).mkdir()
    for setting, why in (("attention=varlen", "varlen needs a CUDA device and bf16"), ("activation_offloading=true", "there is no GPU")):
        with pytest.raises(MlxError, match=why):
            load(setting, "model=./tiny").ready()


@pytest.mark.parametrize(
    ("asked", "has", "expected"),
    [
        ("auto", {"flash_attn", "torch.nn.attention.varlen"}, "flash_attention_2"),
        ("auto", {"torch.nn.attention.varlen"}, "varlen"),
        ("auto", set(), "sdpa"),
        ("sdpa", {"flash_attn"}, "sdpa"),
        ("varlen", {"torch.nn.attention.varlen"}, "varlen"),
        ("flash_attention_2", set(), "needs the package flash-attn"),
        ("varlen", set(), "needs torch 2.10"),
    ],
)
def test_the_kernel_is_the_fastest_that_is_there(monkeypatch, asked, has, expected):
    from src.train import attention

    monkeypatch.setattr(attention, "find_spec", lambda name: name in has or None)
    if expected.startswith("needs"):
        with pytest.raises(MlxError, match=expected):
            attention.pick_attention(asked, device="cuda:0", dtype="bf16")
    else:
        assert attention.pick_attention(asked, device="cuda:0", dtype="bf16") == expected
    assert attention.pick_attention("auto", device="cpu", dtype="fp32") == "sdpa"
