"""A small Llama that has read the project's own texts: the decoder that a classifier starts from without a download."""

import random
from collections.abc import Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from src.models.curriculum import Row
from src.models.scratch import BATCH, Report, backward, fresh_model, teach

CUT = 64  # tokens of a text that pre-training looks at


def pretrain_decoder(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, seed: int, steps: int, on_step: Report | None = None
) -> LlamaForCausalLM:
    """Teach a fresh Llama of two layers to go on with `texts`, token by token.

    Returns the model in float32 on the CPU; the same arguments give the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = fresh_model(tokenizer)
    chance = random.Random(seed)
    rows = [Row(ids, ids) for ids in tokenizer(list(texts), truncation=True, max_length=CUT)["input_ids"] if len(ids) > 1]

    def step() -> float:
        return backward(model, [chance.choice(rows) for _ in range(BATCH)], tokenizer.pad_token_id)

    teach(model, step, steps=steps, on_step=on_step)
    return model
