"""A base of some ten thousand weights, a dataset whose answers it can learn, and a way to train the one on the other."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from src.core.files import digest
from src.core.manifest import Manifest, now
from src.track.metrics import read_metrics
from src.train import train

COLOURS = ("red", "green", "blue", "grey", "amber", "violet")
THINGS = ("lamp", "door", "boat", "rope", "bell", "coat", "chair", "stone")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder of a Llama with hidden size 64 and two layers, and a ChatML tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.models.scratch import train_tokenizer

    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = train_tokenizer(
        [f"What colour is the {thing}? The {thing} is {colour}." for thing in THINGS for colour in COLOURS], vocab=400
    )
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
    fingerprint = digest([*train, *validation])
    Manifest(stage="build", name="t", key="k", fingerprint=fingerprint, counts=counts, info=info, **empty).write(folder)


PROJECT = """
name: t
seed: 5
build: {}
train:
  model: ./tiny
  learning_rate: 5.0e-3
  max_steps: 10
  sequence_length: 160
  effective_batch: 4
  lora: {r: 4, alpha: 8}
  eval_steps: 4
  save_steps: 4
"""


@pytest.fixture(scope="session")
def prepare(tiny):
    """A function that fills a folder: the tiny base, a dataset of 40 + 8 rows, a project that trains the one on the other."""

    def fill(folder, train=None, validation=None):
        shutil.copytree(tiny, folder / "tiny")
        train = [example(n) for n in range(40)] if train is None else train
        validation = [example(n) for n in range(50, 58)] if validation is None else validation
        write_dataset(folder / "data" / "t" / "build", train=train, validation=validation)
        (folder / "t.yaml").write_text(PROJECT)

    return fill


@pytest.fixture
def project(tmp_path, prepare):
    """A function that loads the project in this test's folder, with overrides."""
    prepare(tmp_path)
    return lambda *overrides: train.load("t.yaml", *overrides)


@pytest.fixture
def rewrite():
    """A function that writes another dataset to this test's folder."""
    return partial(write_dataset, Path("data/t/build"))


@pytest.fixture(scope="session")
def made():
    """A function that makes the row of a number."""
    return example


@pytest.fixture(scope="session")
def curve():
    """A function that reads what a training noted of its steps, without what tells the time."""

    def read(folder=Path("checkpoint/t/train")):
        return [{name: value for name, value in row.items() if "second" not in name} for row in read_metrics(folder / "metrics.jsonl")]

    return read
