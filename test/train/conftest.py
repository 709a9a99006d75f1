"""A base of some ten thousand weights, a dataset whose answers it can learn, and a way to train the one on the other."""

import gc
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from src.core.files import digest
from src.core.manifest import Manifest, Origin, now
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
    gc.freeze()  # each training collects garbage, and would look through all that the libraries hold
    return folder


@pytest.fixture(autouse=True)
def without_a_picture(request, monkeypatch):
    """Save drawing the losses, a third of a tiny training's time; test_small_parts.py draws them."""
    if "tiny" in request.fixturenames:
        monkeypatch.setattr("src.train.output.plot", lambda rows, path, **_: path.touch())


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


# loads the libraries once, and makes a process for each training that is to be killed in the worst moment: a checkpoint is
# written and not yet marked as whole
HATCHERY = """
import gc, json, os, signal, sys, traceback
from src.models.libraries import routed
with routed():
    from src.train import checkpoints, classify, dpo, masked, sft, train

mark = checkpoints.MarkWhole.on_save
def on_save(self, args, state, control, **rest):
    if state.global_step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    mark(self, args, state, control, **rest)

checkpoints.MarkWhole.on_save = on_save
gc.freeze()
for line in sys.stdin:
    folder, file, overrides = json.loads(line)
    child = os.fork()
    if not child:
        try:
            os.chdir(folder)
            train(train.load(file, *overrides))
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def hatchery(tmp_path_factory):
    """A process that trains what it is told, in processes that do not survive step 8."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    place, pipe = tmp_path_factory.mktemp("hatchery"), subprocess.PIPE
    errors = place / "stderr"
    with errors.open("w") as stream:
        found = subprocess.Popen(
            [sys.executable, "-c", HATCHERY], env=environment, cwd=place, stdin=pipe, stdout=pipe, stderr=stream, text=True
        )
    with found:
        yield lambda order: (print(json.dumps(order), file=found.stdin, flush=True), found.stdout.readline().strip(), errors.read_text())[
            1:
        ]


@pytest.fixture
def kill_9(hatchery):
    """A function that trains a project in this test's folder, in a process that is killed with -9 as it saves its step 8."""

    def kill(*overrides, file="t.yaml"):
        status, errors = hatchery([Path.cwd().as_posix(), file, overrides])
        assert status == "-9", errors[-4000:]

    return kill


TOOL = {
    "type": "function",
    "function": {
        "name": "paint",
        "description": "Paint it.",
        "parameters": {"type": "object", "properties": {"colour": {"type": "string"}}},
    },
}


def held_out():
    """Rows of each kind: plain, of several turns, with tools and their results."""
    plain = [example(number) for number in range(60, 72)]
    call = {"id": "call_1", "type": "function", "function": {"name": "paint", "arguments": {"colour": "blåu 🌊", "times": 2}}}
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Paint the door."}]
    turns += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"ok": true}'},
    ]
    called = {
        **plain[0],
        "id": "made:call",
        "messages": [*turns, {"role": "assistant", "content": "Done.\n\nIt is blue."}],
        "tools": [TOOL],
    }
    return [*plain, called, {**plain[1], "id": "made:offered", "tools": [TOOL]}]


@pytest.fixture(scope="session")
def leave(tiny):
    """A function that leaves in a folder what a training on the tiny base would: dataset, adapter of random weights, manifest, project."""
    import torch
    from peft import LoraConfig, get_peft_model

    from src.models.load import load
    from src.models.template import template_hash
    from src.models.trained import Trained

    def fill(folder, *, quantization="nf4", dtype="fp32", **lora):
        shutil.copytree(tiny, folder / "tiny")
        write_dataset(folder / "data/t/build", train=[example(number) for number in range(8)])
        (folder / "data/t/build/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out()))
        base = load(tiny, quantization=quantization, dtype=dtype, device="cpu")
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
        model = get_peft_model(base.model, LoraConfig(**settings))
        chance = torch.Generator().manual_seed(1)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float() + 0.1 * torch.randn(weight.shape, generator=chance)
        place = folder / "checkpoint/t/train"
        model.save_pretrained(place / "adapter")
        base.tokenizer.save_pretrained(place / "adapter")
        about = {
            "base": "tiny",
            "base_kind": "folder",
            "quantization": quantization,
            "dtype": dtype,
            "device": "cpu",
            "system": "Be brief.",
        }
        info = Trained(**about, template=template_hash(base.tokenizer)).as_info() | {"steps": 1, "loss": 0.5}
        empty = {"config": {"model": "/home/me/models/tiny"}, "outputs": {}, "versions": {"torch": "2"}, "created": now(), "seconds": 0}
        counts = {"read": 8, "kept": 8, "dropped": 0, "reasons": {}}
        origin = Origin(path="data/t/build", fingerprint=Manifest.read(folder / "data/t/build").fingerprint)
        mark = {"key": "k", "fingerprint": f"{quantization} {dtype} {sorted(lora)}", "seed": 5, "peak_mb": 0, "counts": counts}
        Manifest(stage="train", name="t", inputs={"dataset": (origin,)}, info=info, **mark, **empty).write(place)
        (folder / "t.yaml").write_text("name: t\nseed: 5\nbuild: {}\ntrain: {model: ./tiny}\neval: {}\nserve: {}\n")

    return fill


@pytest.fixture(scope="session")
def evaluate():
    """A function that leaves in this test's folder what an evaluation with this verdict would."""

    def fill(verdict="pass", model=None):
        trained = Manifest.read(Path("checkpoint/t/train"))
        gate = {"metric": "tool_calls.accuracy", "verdict": verdict, "why": "0.1 [0.0, 0.2], asked for at least 0.5"}
        info = {
            "verdict": verdict,
            "gates": [gate],
            "table": "metric  tuned\naccuracy  0.1 [0.0, 0.2]",
            "settings": {"rows": 14, "split": "test"},
        }
        origin = Origin(path="checkpoint/t/train", fingerprint=model or trained.fingerprint)
        plain = {"config": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "seed": 0, "key": "k", "peak_mb": 0}
        counts = {"read": 1, "kept": 1, "dropped": 0, "reasons": {}}
        made = Manifest(stage="eval", name="t", fingerprint=f"e {verdict}", info=info, counts=counts, inputs={"model": (origin,)}, **plain)
        Path("data/t/eval").mkdir(parents=True, exist_ok=True)
        figure = {"name": "tool_calls.accuracy", "models": {"tuned": {"value": 0.1, "low": 0.0, "high": 0.2}}}
        Path("data/t/eval/metrics.json").write_text(json.dumps({"metrics": [figure]}))
        made.write(Path("data/t/eval"))

    return fill
