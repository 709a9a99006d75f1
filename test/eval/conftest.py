"""A dataset, a tiny tuned model and what metrics read, each as small as a test can have it."""

import json
from pathlib import Path

import pytest

from src.eval.cases import Case
from src.eval.measure import Evidence

TOOL = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Switch a light.",
        "parameters": {
            "type": "object",
            "properties": {
                "room": {"type": "string"},
                "level": {"type": "integer", "minimum": 0, "maximum": 10},
                "colour": {"type": "string", "default": "white"},
            },
            "required": ["room", "level"],
            "additionalProperties": False,
        },
    },
}
ROOMS = ("hall", "kitchen", "cellar", "attic", "porch", "study", "pantry", "bath", "stable", "garden", "loft", "den")


def call_message(**arguments):
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "set_light", "arguments": arguments}}],
    }


def call_text(**arguments):
    return f"<tool_call>\n{json.dumps({'name': 'set_light', 'arguments': arguments})}\n</tool_call>"


@pytest.fixture
def tool():
    return TOOL


@pytest.fixture
def calling():
    """Cases that each ask for a light of their own."""
    return [
        Case(
            id=f"call:{number}#1",
            example=f"call:{number}",
            group=f"call:{number}",
            tags=("kind:call", f"unseen:{('values', 'tool')[number % 2]}"),
            history=[{"role": "user", "content": f"Light the {room} at {number % 11}, will you?"}],
            tools=[TOOL],
            expected=call_message(room=room, level=number % 11),
        )
        for number, room in enumerate(ROOMS * 4)
    ]


@pytest.fixture
def right(calling):
    """The right text for each of them."""
    return {case.id: call_text(**case.calls[0]["arguments"]) for case in calling}


@pytest.fixture
def plain():
    """Cases with a tool at hand that no one asks for."""
    return [
        Case(
            id=f"talk:{number}#1",
            example=f"talk:{number}",
            group=f"talk:{number}",
            tags=("kind:none",),
            history=[{"role": "user", "content": "How do you do?"}],
            tools=[TOOL],
            expected={"role": "assistant", "content": "Well enough for an old keeper of lamps, I thank you."},
        )
        for number in range(8)
    ]


@pytest.fixture
def evidence():
    def make(cases, answers, *, records=(), persona=None, likelihoods=None, bytes_of=None):
        return Evidence(cases, answers, likelihoods or {}, bytes_of or {}, records, persona, seed=7)

    return make


@pytest.fixture
def examples():
    """Rows as build writes them: calls, an exchange with a result, talk, persona answers cut from two documents."""
    rows = []
    for number, room in enumerate(ROOMS):
        ask = {"role": "user", "content": f"Light the {room} at {number}."}
        rows.append(
            {
                "id": f"call:{number}",
                "messages": [ask, call_message(room=room, level=number % 11)],
                "tools": [TOOL],
                "tags": ["kind:call"],
                "sources": [],
            }
        )
    ask = [{"role": "user", "content": "Light the den."}, call_message(room="den", level=1)]
    result = [{"role": "tool", "tool_call_id": "1", "content": '{"ok": true}'}, {"role": "assistant", "content": "The den is lit at last."}]
    rows.append({"id": "result:0", "messages": [*ask, *result], "tools": [TOOL], "tags": ["kind:result"], "sources": []})
    for number in range(6):
        talk = [
            {"role": "user", "content": f"Tell me of day {number}."},
            {"role": "assistant", "content": "I reckon the fog came in before noon."},
        ]
        rows.append({"id": f"talk:{number}", "messages": talk, "tools": [], "tags": [], "sources": [f"log.txt:{number}"]})
    return rows


def manifest(folder, stage, info):
    from src.core.manifest import Manifest, hash_outputs, now

    outputs = hash_outputs(folder)
    Manifest(
        stage=stage,
        name="lamp",
        key=stage,
        fingerprint=stage,
        seed=1,
        config={},
        inputs={},
        outputs=outputs,
        counts={},
        info=info,
        versions={},
        created=now(),
        seconds=0,
        peak_mb=0,
    ).write(folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A random base of two thin layers and an adapter that changes what it says, as `train` leaves them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.models.scratch import train_tokenizer
    from src.models.template import template_hash

    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(["The fog came in before noon, I reckon. " * 30], vocab=400)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    base = folder / "base"
    model = LlamaForCausalLM(config)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    lora = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    tuned = get_peft_model(model, lora)
    adapter = folder / "train" / "adapter"
    tuned.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)
    info = {
        "base": base.as_posix(),
        "base_kind": "folder",
        "quantization": "none",
        "dtype": "fp32",
        "device": "cpu",
        "template": template_hash(tokenizer),
    }
    manifest(folder / "train", "train", info)
    return folder / "train"


@pytest.fixture
def project(tmp_path, trained, examples):
    """A project whose earlier stages have run; returns the YAML file, with the eval section given."""
    import shutil

    from src.core.files import write_jsonl
    from src.core.records import Record
    from src.core.tables import write_records

    build, scrape = Path("data/lamp/build"), Path("data/lamp/scrape")
    write_jsonl(build / "test.jsonl", examples)
    manifest(build, "build", {"persona": {"author": "keeper"}})
    records = [Record(f"log.txt:{n}", "fog", {"source": f"log{n % 2}.txt", "author": "keeper"}) for n in range(6)]
    scrape.mkdir(parents=True)
    write_records(scrape / "records.parquet", records)
    manifest(scrape, "scrape", {})
    shutil.copytree(trained, "checkpoint/lamp/train")

    def write(section="{}"):
        file = Path("lamp.yaml")
        file.write_text(f"name: lamp\nscrape: {{}}\nbuild: {{}}\ntrain: {{}}\neval: {section}\n")
        return file

    return write
