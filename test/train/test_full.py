"""All weights, and the variants of an adapter: they train, they are written, they can be loaded."""

import json
from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.models.trained import Trained
from src.train import train

OUTPUT = Path("checkpoint/t/train")
QUICK = ("train.max_steps=3", "train.eval_steps=3", "train.quantization=none")


def losses(rows):
    return [row["loss"] for row in rows if "loss" in row]


def logits(model, tokenizer):
    import torch

    ids = torch.tensor([tokenizer("What colour is the lamp?")["input_ids"]])
    with torch.no_grad():
        return model(input_ids=ids).logits


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_weights_make_a_model_of_its_own(project, curve, precision):
    import torch

    settings = ("train.lora=null", "train.quantization=none", "train.learning_rate=2.0e-3", f"train.precision={precision}")
    manifest = train(project(*settings))
    found = losses(curve())
    assert sum(found[-3:]) < 0.8 * sum(found[:3])
    trained = Trained.of(OUTPUT)
    assert (trained.weights, trained.adapter, trained.tokenizer) == ("model", None, OUTPUT / "model")
    loaded = trained.load()
    assert not (OUTPUT / "adapter").exists()
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32 if precision == "fp32" else torch.bfloat16}
    assert manifest.info["trainable_parameters"] == loaded.model.num_parameters()
    base = trained.load_base()
    assert not torch.equal(logits(base.model, base.tokenizer), logits(loaded.model, loaded.tokenizer))
    assert manifest.info["validation_loss"] < manifest.info["validation_loss_before"]


@pytest.mark.parametrize(
    "variant",
    [
        ("train.lora.rslora=true", "train.neftune=5"),
        ("train.lora.dora=true", "train.serve_with=transformers"),
        ("train.lora.modules_to_save=[embed_tokens]", "train.serve_with=transformers"),
    ],
    ids=["rslora", "dora", "modules_to_save"],
)
def test_variants_of_the_adapter_train_and_load(project, curve, variant):
    import torch
    from safetensors.torch import load_file

    train(project("train.max_steps=6", "train.eval_steps=10", *variant))
    found = losses(curve())
    assert sum(found[-2:]) < sum(found[:2])
    trained = Trained.of(OUTPUT)
    tuned, base = trained.load(), trained.load_base()
    assert not torch.equal(logits(tuned.model, tuned.tokenizer), logits(base.model, base.tokenizer))
    settings = json.loads((OUTPUT / "adapter" / "adapter_config.json").read_text())
    assert settings["use_rslora"] == ("rslora" in variant[0])
    assert settings["use_dora"] == ("dora" in variant[0])
    if settings["modules_to_save"]:
        weights = load_file(OUTPUT / "adapter" / "adapter_model.safetensors")
        [name] = [name for name in weights if "embed_tokens" in name]
        assert not weights[name].equal(load_file("tiny/model.safetensors")["model.embed_tokens.weight"])


@pytest.mark.parametrize("optimizer", ["lion_8bit", "paged_adamw_32bit", "paged_ademamix_32bit"])
def test_optimizers(project, curve, optimizer):
    train(project(*QUICK, f"train.optimizer={optimizer}", "train.eval_steps=100"))
    assert len(losses(curve())) == 3


@pytest.mark.parametrize(
    "scheduler",
    [
        ("train.scheduler=cosine_with_min_lr", "train.scheduler_options={min_lr_rate: 0.5}"),
        ("train.scheduler=warmup_stable_decay", "train.scheduler_options={num_decay_steps: 2}"),
    ],
    ids=lambda each: each[0].rpartition("=")[2],
)
def test_schedulers(project, curve, scheduler):
    train(project(*QUICK, *scheduler, "train.warmup=0"))
    rates = [row["learning_rate"] for row in curve() if "learning_rate" in row]
    assert rates[0] == pytest.approx(5e-3)
    assert rates[-1] < 5e-3
    assert min(rates) >= 2.5e-3


def test_the_adapter_of_an_earlier_training_is_trained_on(project, curve):
    import shutil

    from safetensors.torch import load_file

    train(project(*QUICK))
    first = curve()
    shutil.move("checkpoint", "before")
    start = ("train.start=before/t/train", *QUICK)
    train(project(*start))
    second = curve()
    assert second[0]["validation_loss"] == pytest.approx(first[-1]["validation_loss"], abs=1e-5)
    assert second[-1]["validation_loss"] < first[-1]["validation_loss"]
    weights = [load_file(f"{place}/t/train/adapter/adapter_model.safetensors") for place in ("before", "checkpoint")]
    assert weights[0].keys() == weights[1].keys()
    with pytest.raises(MlxError, match=r"has lora.r 4, and train.lora.r is 8"):
        train(project(*start, "train.lora.r=8"))
    with pytest.raises(MlxError, match="was trained with quantization none"):
        train(project(*start, "train.quantization=nf4"))
    with pytest.raises(MlxError, match="lora: null trains all weights"):
        train(project(*start, "train.lora=null"))
    shutil.copytree("tiny", "other")
    with pytest.raises(MlxError, match=r"was trained on tiny, and train\.model is other"):
        train(project(*start, "train.model=other"))


def test_a_whole_model_is_trained_on_with_an_adapter(project):
    import shutil

    train(project(*QUICK, "train.lora=null"))
    shutil.move("checkpoint", "before")
    train(project("train.start=before/t/train", "train.max_steps=1"))
    trained = Trained.of(OUTPUT)
    assert (trained.base_path, trained.weights, trained.quantization) == ("before/t/train/model", "adapter", "nf4")


def test_an_nf4_adapter_goes_on_as_it_was_and_not_rounded_to_bf16(project, tmp_path):
    import shutil

    from safetensors.torch import load_file

    from src.train.base import find_base

    train(project("train.max_steps=2"))
    shutil.move("checkpoint", "before")
    from src.train.trainer import make_trainer

    config = project("train.start=before/t/train", "train.packing=false").section("train")
    trainer = make_trainer(config, tmp_path, find_base(config, None), [row(1)], seed=1)
    saved = load_file("before/t/train/adapter/adapter_model.safetensors")
    there = {name.replace(".default", ""): weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert there.keys() == saved.keys()
    assert all(there[name].equal(saved[name]) for name in saved)


def row(number):
    from array import array

    from src.train.rows import Row

    return Row(str(number), array("i", [5, 6, 7, 8]), array("i", [-100, 6, 7, 8]))


def test_the_best_checkpoint_is_written_and_waiting_ends(project, curve, rewrite, made):
    from safetensors.torch import load_file

    # so few rows that they are learned by heart, and what is held out gets worse
    rewrite(train=[made(n) for n in range(4)], validation=[made(n) for n in range(50, 58)])
    settings = ("train.max_steps=40", "train.eval_steps=2", "train.learning_rate=0.03", "train.warmup=0", "train.scheduler=constant")
    manifest = train(
        project(*settings, "train.best=validation_loss", "train.patience=3", "train.save_steps=100", "train.quantization=none")
    )
    measured = {row["step"]: row["validation_loss"] for row in curve() if "validation_loss" in row and row["step"]}
    best = min(measured, key=measured.get)
    assert manifest.info["written_step"] == best
    assert manifest.info["validation_loss"] == measured[best]
    assert manifest.info["steps"] == max(measured) == best + 6  # three measurements later
    assert max(measured) < 40
    assert all(weight.isfinite().all() for weight in load_file(OUTPUT / "adapter" / "adapter_model.safetensors").values())
    rows = [json.loads(line) for line in (OUTPUT / "losses.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert [each["loss"] for each in rows] == sorted((each["loss"] for each in rows), reverse=True)
    mean = sum(each["loss"] * each["tokens"] for each in rows) / sum(each["tokens"] for each in rows)
    assert mean == pytest.approx(measured[best], abs=1e-3)  # of the checkpoint that was written, not of the last


def test_what_best_names_has_to_be_measured(project, rewrite, made):
    with pytest.raises(MlxError, match="what is measured here is validation_loss"):
        train(project("train.best=validation_f1"))
    with pytest.raises(ConfigError, match="patience: needs to know what is better"):
        project("train.patience=2")
    rewrite(train=[made(1)], validation=[])
    with pytest.raises(MlxError, match="the validation split is empty"):
        train(project("train.best=validation_loss", "train.effective_batch=1"))


def test_sources_have_curves_of_their_own(project, rewrite, made, curve):
    rows = [{**made(n), "tags": [f"source:{'chats' if n % 2 else 'passages'}"]} for n in range(48)]
    rewrite(train=rows[:40], validation=rows[40:])
    manifest = train(project(*QUICK))
    last = [row for row in curve() if "validation_loss" in row][-1]
    parts = last["validation_loss/chats"], last["validation_loss/passages"]
    assert min(parts) < last["validation_loss"] < max(parts)
    assert manifest.info["validation_loss/chats"] == parts[0]
    assert {json.loads(line)["source"] for line in (OUTPUT / "losses.jsonl").read_text().splitlines()} == {"chats", "passages"}


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "all_weights"])
def test_a_bad_row_is_found_by_its_loss_even_if_killed_before(project, rewrite, made, monkeypatch, lora):
    from src.train import sft

    rows = [made(n) for n in range(24)]
    rows[5] = {**rows[5], "id": "made:bad", "messages": [rows[5]["messages"][0], {"role": "assistant", "content": "coat bell rope boat"}]}
    rewrite(train=rows, validation=[made(n) for n in range(50, 54)])
    settings = (
        "train.max_steps=16",
        "train.eval_steps=16",
        "train.quantization=none",
        "train.row_losses=all",
        "train.best=validation_loss",
    )
    settings += () if lora else ("train.lora=null", "train.learning_rate=3.0e-3")
    with monkeypatch.context() as patched:
        patched.setattr(sft, "put_weights", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            train(project(*settings))
    with monkeypatch.context() as patched:
        patched.setattr(sft, "fit", None)  # would fail if it were called
        train(project(*settings))
    found = [json.loads(line) for line in (OUTPUT / "train_losses.jsonl").read_text().splitlines()]
    assert len(found) == 24
    assert found[0]["id"] == "made:bad"
    loaded = Trained.of(OUTPUT).load()
    assert row_loss(loaded, rows[5]) == pytest.approx(found[0]["loss"], abs=1e-3)


def row_loss(loaded, row):
    import torch

    from src.models.template import encode

    encoded = encode(loaded.tokenizer, row["messages"])
    ids, mask = torch.tensor([encoded.ids]), torch.tensor(encoded.mask).bool()
    with torch.no_grad():
        scores = loaded.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return -scores.gather(-1, ids[0, 1:, None])[mask[1:]].mean().item()
