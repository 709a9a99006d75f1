"""A base of a few thousand weights, a dataset whose answers it can learn, and a way to train the one on the other."""

import json
import shutil
import sys

import pytest

from src.core.manifest import Manifest, now
from src.train import train

COLOURS = ("red", "green", "blue", "grey", "amber", "violet")
THINGS = ("lamp", "door", "boat", "rope", "bell", "coat", "chair", "stone")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder of a Llama with hidden size 32 and two layers, and a ChatML tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.models.scratch import train_tokenizer

    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = train_tokenizer([f"What colour is the {thing}? The {thing} is {colour}." for thing in THINGS for colour in COLOURS], vocab=400)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def example(number):
    thing, colour = THINGS[number % len(THINGS)], COLOURS[number * 7 % len(COLOURS)]
    # of several lengths, so that packing has something to do
    question = "Tell me, please. " * (number % 3) + f"What colour is the {thing}?"
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": f"The {thing} is {colour}."}]
    return {"id": f"made:{number}", "messages": turns * (1 + number % 2), "tools": [], "label": None, "tags": [], "sources": []}


def write_dataset(folder, *, train, validation=()):
    """Write what `mlx build` would have left in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("validation", validation), ("test", ())):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    empty = {"config": {}, "inputs": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0}
    counts = {"read": 0, "kept": 0, "dropped": 0, "reasons": {}}
    info = {"system": "Be brief."}
    print_of = json.dumps([train, validation])
    Manifest(stage="build", name="t", key="k", fingerprint=str(hash(print_of)), counts=counts, info=info, **empty).write(folder)


@pytest.fixture
def dataset(tmp_path):
    """Forty rows to train on, eight to measure on, as the output of `build`."""
    write_dataset(tmp_path / "data" / "t" / "build", train=[example(n) for n in range(40)], validation=[example(n) for n in range(50, 58)])


@pytest.fixture
def project(tmp_path, tiny):
    """A function that loads a project file which trains the tiny base, with overrides."""
    shutil.copytree(tiny, tmp_path / "tiny")
    (tmp_path / "t.yaml").write_text(
        "name: t\nseed: 5\nbuild: {}\ntrain:\n"
        "  model: ./tiny\n  learning_rate: 5.0e-3\n  max_steps: 8\n  sequence_length: 128\n  micro_batch: 1\n  effective_batch: 2\n"
        "  lora: {r: 4, alpha: 8}\n  eval_steps: 4\n  save_steps: 3\n"
    )
    return lambda *overrides: train.load("t.yaml", *overrides)
