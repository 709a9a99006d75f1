"""What a block keeps for its backward pass, against autograd's own list of saved tensors; totals, against sums by hand."""

import pytest

from src.train import TrainConfig
from src.train.planning.architecture import read_shape
from src.train.planning.memory import block_bytes
from src.train.planning.setting import Setting

TINY = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "vocab_size": 128, "max_position_embeddings": 256}
DECODERS = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 32},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 32, "attn_logit_softcapping": None},
}


def setting(**changes):
    lora = changes.pop("lora", {"r": 8, "dropout": changes.pop("dropout", 0.0)})
    given = {"quantization": "none", "sequence_length": 64, "micro_batch": 2, "effective_batch": 2, **changes}
    return Setting.of(TrainConfig(model="x", lora=lora, device="cpu", **given), on_cpu=True)


def values(family):
    return {"model_type": family, "num_hidden_layers": 2, **TINY, **DECODERS.get(family, {})}


def kept_by_a_block(family, setting):
    """Bytes that autograd holds for two blocks, less those for one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSequenceClassification

    def kept(layers):
        torch.manual_seed(0)
        config = CONFIG_MAPPING[family](**{k: v for k, v in values(family).items() if k != "model_type"} | {"num_hidden_layers": layers})
        kind = AutoModelForSequenceClassification if family == "bert" else AutoModelForCausalLM
        model = kind.from_config(config, attn_implementation="sdpa")
        if not setting.full:
            model.to(torch.bfloat16 if setting.bf16 else torch.float32)
            targets = setting.targets if isinstance(setting.targets, str) else list(setting.targets)
            lora = LoraConfig(r=setting.rank, lora_dropout=setting.dropout, target_modules=targets)
            model = get_peft_model(model, lora).base_model.model
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.float()
        weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        seen = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            # casts of weights are kept once however long the batch is, and are no activation
            if storage.data_ptr() not in weights and (
                any(size in (128, 64) for size in tensor.shape[:-1]) or tensor.shape[::2] == (8, 64)  # BERT's keys, turned
            ):
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        model.train()
        ids = torch.randint(0, 128, (1, 128) if setting.packing else (2, 64))
        places = {"position_ids": torch.arange(64).repeat(2)[None]} if setting.packing else {}
        if not setting.packing:
            places = {"attention_mask": torch.ones(2, 64, dtype=torch.long).index_fill(1, torch.tensor([63]), 0)}
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            body = getattr(model, model.base_model_prefix)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=setting.bf16):
                body(input_ids=ids, **places, **({} if family == "bert" else {"use_cache": False}))
        return sum(seen.values())

    return kept(2) - kept(1)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}),
        ("llama", {"packing": False}),
        ("llama", {"dropout": 0.1}),
        ("llama", {"precision": "bf16"}),
        ("llama", {"precision": "bf16", "dropout": 0.1}),
        ("llama", {"lora": None}),
        ("qwen2", {"lora": {"r": 4, "dropout": 0.1, "targets": ["q_proj", "down_proj"]}}),
        ("qwen3", {}),
        ("qwen3", {"lora": None}),
        ("gemma2", {"dropout": 0.1}),
        ("bert", {"lora": None, "task": "classify", "packing": False}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "plain",
)
def test_every_tensor_that_a_block_keeps_is_counted(family, changes):
    each = setting(**changes)
    predicted = block_bytes(read_shape("t", values(family)), each)
    assert predicted == pytest.approx(kept_by_a_block(family, each), rel=0.03)
