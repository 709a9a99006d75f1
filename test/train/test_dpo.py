"""Preferences: margins rise, the reference stays what it was, a kill changes nothing."""

import json
import shutil
from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.core.files import write_jsonl
from src.models.trained import Trained
from src.train import train

OUTPUT = Path("checkpoint/t/train")
COLOURS = ("red", "green", "blue", "grey")
THINGS = ("lamp", "door", "boat", "rope", "bell", "coat")


def pair(number):
    thing, colour = THINGS[number % len(THINGS)], COLOURS[number % len(COLOURS)]
    ask = [{"role": "user", "content": f"What colour is the {thing}?"}]
    polite, rude = f"The {thing} is {colour}.", f"What {thing}?"
    return {
        "id": f"pair:{number}",
        "prompt": ask if number % 2 else [*ask, {"role": "assistant", "content": rude}, *ask],
        "chosen": [{"role": "assistant", "content": polite}],
        "rejected": [{"role": "assistant", "content": rude}],
        "tools": [],
        "tags": ["source:preferences"],
        "sources": [f"pair:{number}"],
    }


@pytest.fixture
def preferences(project):
    """The project with 24 + 6 pairs, and a function that loads it for DPO."""
    dataset = Path("data/t/build")
    write_jsonl(dataset / "train_preferences.jsonl", map(pair, range(24)))
    write_jsonl(dataset / "validation_preferences.jsonl", map(pair, range(24, 30)))
    return lambda *overrides: project("train.task=dpo", "train.lora.dropout=0", *overrides)


@pytest.mark.parametrize("reference", ["adapter_off", "precomputed"])
def test_margins_rise(preferences, curve, reference):
    manifest = train(preferences(f"train.dpo={{reference: {reference}}}"))
    rows = [row for row in curve() if "margin" in row]
    assert len(rows) == 10
    assert rows[0]["margin"] == pytest.approx(0, abs=1e-3)
    assert rows[-1]["margin"] > 0.5
    assert rows[-1]["accuracy"] == 1
    info = manifest.info
    assert info["validation_accuracy"] == 1
    assert info["validation_loss"] < info["validation_loss_before"] == pytest.approx(0.6931, abs=1e-3)  # ln 2: no opinion yet
    assert manifest.counts["kept"] == 30
    trained = Trained.of(OUTPUT)
    assert trained.task == "dpo"
    tuned, base = trained.load(), trained.load_base()
    gain = [preferred(loaded) for loaded in (tuned, base)]
    assert gain[0] > gain[1] + 1
    worst = [json.loads(line) for line in (OUTPUT / "losses.jsonl").read_text().splitlines()]
    assert [row["margin"] for row in worst] == sorted(row["margin"] for row in worst)


def preferred(loaded):
    """How many nats likelier the chosen answer of a pair is."""
    import torch

    from src.models.template import encode, prompt_ids

    row, found = pair(25), []
    start = len(prompt_ids(loaded.tokenizer, row["prompt"]))
    for side in ("chosen", "rejected"):
        ids = torch.tensor([encode(loaded.tokenizer, [*row["prompt"], *row[side]]).ids])
        with torch.no_grad():
            scores = loaded.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
        found.append(scores[start - 1 :].sum().item())
    return found[0] - found[1]


def test_both_references_are_the_same(preferences, curve):
    train(preferences("train.max_steps=4"))
    off = [row["loss"] for row in curve() if "loss" in row]
    train(preferences("train.max_steps=4", "train.dpo={reference: precomputed}"))
    assert [row["loss"] for row in curve() if "loss" in row] == pytest.approx(off, abs=1e-4)


def test_only_the_answer_counts(preferences):
    from src.models.load import load_tokenizer
    from src.train.pairs import _pairs

    [found] = [each for each in _pairs(Path("data/t/build/train_preferences.jsonl"), load_tokenizer("tiny"), 200) if each.id == "pair:2"]
    tokenizer = load_tokenizer("tiny")
    said = [
        tokenizer.decode([token for token, on in zip(each.ids, each.mask, strict=True) if on]) for each in (found.chosen, found.rejected)
    ]
    # an earlier turn of the assistant is part of the prompt
    assert said[0].startswith("The boat is blue.")
    assert said[1].startswith("What boat?")
    assert found.chosen.mask[: sum(found.chosen.mask)].count(1) == 0


def test_what_cannot_be_learned_is_in_the_ledger(preferences):
    rows = [pair(n) for n in range(6)]
    rows[1]["rejected"] = rows[1]["chosen"]
    rows[2]["chosen"] = [{"role": "assistant", "content": "red " * 200}]
    rows[3]["rejected"] = [{"role": "user", "content": "and?"}]
    write_jsonl(Path("data/t/build/train_preferences.jsonl"), rows)
    manifest = train(preferences("train.max_steps=1", "train.effective_batch=1"))
    assert manifest.counts["reasons"] == {"last_not_assistant": 1, "same_answers": 1, "too_long": 1}
    assert manifest.counts["read"] == 12
    details = {row["id"]: row["detail"] for row in map(json.loads, (OUTPUT / "dropped.jsonl").read_text().splitlines())}
    assert details["pair:3"].startswith("rejected: ")
    Path("data/t/build/train_preferences.jsonl").unlink()
    with pytest.raises(MlxError, match="is missing") as error:
        train(preferences())
    assert "type preferences" in error.value.hint


def test_preferences_after_conversations(preferences, project, curve):
    """DPO starts from the adapter of the SFT, is measured against it, and leaves it as it was."""
    from safetensors.torch import load_file

    train(project("train.quantization=none"))
    shutil.move("checkpoint", "before")
    settings = ("train.start=before/t/train", "train.quantization=none", "train.save_steps=2")
    manifest = train(preferences(*settings))
    assert manifest.info["validation_loss_before"] == pytest.approx(0.6931, abs=1e-3)  # the reference is the SFT, not the base
    assert manifest.info["validation_margin"] > 0.3
    tuned = load_file(OUTPUT / "adapter" / "adapter_model.safetensors")
    before = load_file("before/t/train/adapter/adapter_model.safetensors")
    assert tuned.keys() == before.keys()
    assert sorted(each.name for each in (OUTPUT / "adapter").iterdir() if each.is_dir()) == []
    assert any(not tuned[name].equal(before[name]) for name in before)


def test_the_mixed_in_sft_loss_keeps_the_answer_likely(preferences, curve):
    train(preferences("train.max_steps=1", "train.quantization=none"))
    plain = curve()[1]["loss"]
    train(preferences("train.max_steps=1", "train.quantization=none", "train.dpo={sft_weight: 2.0}"))
    assert curve()[1]["loss"] > plain + 1


def test_all_weights_with_a_precomputed_reference(preferences):
    settings = ("train.lora=null", "train.quantization=none", "train.learning_rate=1.0e-3")
    manifest = train(preferences(*settings, "train.dpo={reference: precomputed}"))
    assert manifest.info["validation_accuracy"] == 1
    assert Trained.of(OUTPUT).weights == "model"
    with pytest.raises(ConfigError, match=r"dpo\.reference: without an adapter there is none to switch off"):
        preferences("train.lora=null", "train.quantization=none")


@pytest.mark.parametrize("start", [False, True], ids=["new", "start"])
def test_kill_9_and_again_is_the_same_run(preferences, project, curve, kill_9, start):
    more = ()
    if start:
        train(project("train.max_steps=2"))
        shutil.move("checkpoint", "before")
        more = ("train.start=before/t/train",)
    train(preferences(*more))
    expected = curve(), (OUTPUT / "adapter" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree("checkpoint")
    kill_9("train.task=dpo", "train.lora.dropout=0", "train.save_steps=2", *more)
    train(preferences(*more))
    assert (curve(), (OUTPUT / "adapter" / "adapter_model.safetensors").read_bytes()) == expected
