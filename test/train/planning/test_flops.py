"""Operations a token, against torch's own count and against a peer's published figure."""

import pytest

from src.core.errors import MlxError
from src.train.planning.architecture import read_shape, shape_of
from src.train.planning.flops import forward_flops, recomputed_flops, training_flops
from src.train.planning.gpu import gpu_like, gpu_named

TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 256,
}


def counted(*, lora):
    """What torch counts in a step of a tiny Llama, attention apart (its count holds the half that a causal mask hides)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{key: value for key, value in TINY.items() if key != "model_type"}))
    if lora:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.randint(0, 128, (2, 64))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    matrices = ("mm", "addmm", "bmm")
    return sum(flops for kind, flops in counter.get_flop_counts()["Global"].items() if str(kind).split(".")[-1] in matrices) / ids.numel()


def test_full_training_is_six_operations_a_weight():
    shape = read_shape("t", TINY)
    # the gradient of the first block's input is nobody's: torch leaves out nothing here, for the embedding is trained
    assert counted(lora=False) == pytest.approx(training_flops(shape, 0, lora=None), rel=0.01)


def test_an_adapter_is_four_operations_a_frozen_weight():
    shape = read_shape("t", TINY)
    first = 2 * sum(each.weights for each in shape.linears[:3])  # of the first block, whose input needs no gradient
    extra = 2 * 4 * sum(each.inputs for each in shape.linears[:3])
    assert counted(lora=True) == pytest.approx(training_flops(shape, 0, lora=shape.lora_parameters(4)) - first - extra, rel=0.01)


def test_a_published_speed_gives_the_published_utilisation():
    # NeMo AutoModel: 12,473 tok/s = 402 TFLOP/s; it counts the backward pass of attention once, this rule twice
    llama = shape_of("llama-3-8b")
    ours = 12_473 * training_flops(llama, 4096, lora=llama.lora_parameters(16))
    once = 12_473 * (forward_flops(llama, 4096) - forward_flops(llama, 0))
    assert (ours - once) / 1e12 == pytest.approx(402, abs=4)


def test_recomputing_and_references_cost_a_forward_pass():
    llama = shape_of("llama-3-8b")
    assert recomputed_flops(llama, 0) == 2 * llama.linear_parameters
    with_reference = training_flops(llama, 100, lora=0, reference=True)
    assert with_reference == pytest.approx(training_flops(llama, 100, lora=0) + forward_flops(llama, 100))


def test_cards_are_known_by_name_and_by_what_torch_calls_them():
    assert gpu_named("H100") == gpu_like("NVIDIA H100 80GB HBM3")
    assert gpu_named("a100-40") == gpu_like("NVIDIA A100-SXM4-40GB") != gpu_like("NVIDIA A100-SXM4-80GB")
    assert gpu_named("rtx 4090") == gpu_like("NVIDIA GeForce RTX 4090")
    assert gpu_like("Tesla K80") is None
    mine = gpu_named("name=Mine,memory=48,tflops=360")
    assert (mine.name, mine.memory, mine.tflops, mine.bandwidth) == ("Mine", 48e9, 360, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [("h1000", "did you mean 'h100'"), ("memory=48", "tflops is None"), ("memory=x,tflops=1", "memory is 'x'"), ("memry=1", "'memory'")],
)
def test_a_card_that_is_none(text, said):
    with pytest.raises(MlxError, match=said):
        gpu_named(text)
