"""QLoRA on a CPU learns, loses no row, is deterministic and says what it did."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.models.trained import Trained
from src.train import train

OUTPUT = Path("checkpoint/t/train")


def losses(rows):
    return [row["loss"] for row in rows if "loss" in row]


def plain_loss(loaded, rows):
    import torch

    from src.models.template import encode

    total = count = 0
    for messages in rows:
        encoded = encode(loaded.tokenizer, messages, [])
        ids, mask = torch.tensor([encoded.ids]), torch.tensor(encoded.mask).bool()
        with torch.no_grad():
            scores = loaded.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        total -= scores.gather(-1, ids[0, 1:, None])[mask[1:]].sum().item()
        count += int(mask[1:].sum())
    return total / count


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
def test_it_learns_and_what_it_learned_can_be_loaded(project, curve, made, quantization):
    manifest = train(project(f"train.quantization={quantization}", "train.max_steps=16"))
    found = losses(curve())
    assert len(found) == 16
    assert sum(found[-3:]) < 0.8 * sum(found[:3])
    info = manifest.info
    assert info["validation_loss"] < info["validation_loss_before"]
    assert manifest.counts == {"read": 48, "kept": 48, "dropped": 0, "reasons": {}}
    # the losses of base and adapter on the held-out rows, through plain logits and row by row, are those that were reported
    trained = Trained.of(OUTPUT)
    assert trained.system == "Be brief."
    near = 0.03 if quantization == "int8" else 1e-4
    rows = [made(number)["messages"] for number in range(50, 58)]
    assert plain_loss(trained.load(), rows) == pytest.approx(info["validation_loss"], rel=near)
    assert plain_loss(trained.load_base(), rows) == pytest.approx(info["validation_loss_before"], rel=near)


@pytest.mark.parametrize("packing", [True, False])
def test_the_labels_that_reach_the_model_are_our_masks(project, made, monkeypatch, packing):
    from src.models.load import load_tokenizer
    from src.models.template import encode
    from src.train.monitor import Monitor

    seen = []

    def note(self, module, args, inputs):
        if module.training:
            seen.append(inputs)
        return count(self, module, args, inputs)

    count = Monitor.count
    monkeypatch.setattr(Monitor, "count", note)
    manifest = train(project(f"train.packing={packing}", "train.max_steps=null", "train.epochs=1", "train.micro_batch=2"))
    tokenizer = load_tokenizer("tiny")
    expected = []
    for number in range(40):
        encoded = encode(tokenizer, made(number)["messages"], [])
        expected.append(tuple((token, token if learned else -100) for token, learned in zip(encoded.ids, encoded.mask, strict=True)))
    found = []
    for batch in seen:
        if packing:
            starts = batch["cu_seq_lens_q"].tolist()
            rows = [(batch["input_ids"][0, a:b], batch["labels"][0, a:b]) for a, b in pairwise(starts)]
        else:
            rows = [
                (ids[kept == 1], labels[kept == 1])
                for ids, labels, kept in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
            ]
        found += [tuple(zip(ids.tolist(), labels.tolist(), strict=True)) for ids, labels in rows]
    assert sorted(found) == sorted(expected)  # each row once, none cut, none lost
    assert manifest.info["tokens"] == sum(label != -100 for row in expected for _, label in row)
    assert manifest.info["tokens_all"] == sum(map(len, expected))


def test_packing_changes_the_order_only_not_the_loss(project, curve):
    train(project("train.max_steps=1", "train.effective_batch=64"))
    packed = losses(curve())[0]
    train(project("train.max_steps=1", "train.effective_batch=64", "train.packing=false", "train.lora.dropout=0"))
    assert losses(curve())[0] == pytest.approx(packed, abs=1e-5)  # the whole set in one step, with an adapter that is still zero


def test_twice_the_same_is_the_same_curve_and_the_same_bytes(project, curve):
    first = train(project())
    before, curve_before = {path.name: path.read_bytes() for path in (OUTPUT / "adapter").iterdir()}, curve()
    second = train(project(), force=True)
    assert curve() == curve_before
    assert {path.name: path.read_bytes() for path in (OUTPUT / "adapter").iterdir()} == before
    assert second.fingerprint == first.fingerprint
    assert set(before) >= {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"}
    targets = json.loads(before["adapter_config.json"])["target_modules"]
    assert targets == sorted(targets)  # a set in PEFT: its order differs between processes
    assert train(project()).created == second.created  # up to date
    os.utime("tiny/model.safetensors")
    assert train(project()).created > second.created  # another base may lie there now
    assert not (OUTPUT / ".work").exists()


def test_rows_that_do_not_fit_are_in_the_ledger(project, rewrite, made):
    long = {**made(1), "id": "made:long", "messages": made(1)["messages"] * 9}
    broken = {**made(2), "id": "made:broken", "messages": made(2)["messages"][:1]}
    rewrite(train=[made(0), long, made(3), broken], validation=[])
    manifest = train(project("train.max_steps=1", "train.effective_batch=1"))
    assert manifest.counts == {"read": 4, "kept": 2, "dropped": 2, "reasons": {"last_not_assistant": 1, "too_long": 1}}
    dropped = {row["id"]: row["detail"] for row in map(json.loads, (OUTPUT / "dropped.jsonl").read_text().splitlines())}
    assert "over 160" in dropped["made:long"]
    assert manifest.info["validation_loss"] is None


def test_nothing_left_to_train_on_is_an_error(project, rewrite, made):
    with pytest.raises(MlxError, match="no row is left to train on: too_long 48"):
        train(project("train.sequence_length=10"))
    shape = json.loads(Path("tiny/config.json").read_text())
    Path("tiny/config.json").write_text(json.dumps({**shape, "max_position_embeddings": 12}))
    with pytest.raises(MlxError, match="too_long 48"):  # the model has no positions for more
        train(project())
    rewrite(train=[], validation=[])
    with pytest.raises(MlxError, match="the split is empty"):
        train(project())
    Path("data/t/build/validation.jsonl").unlink()
    with pytest.raises(MlxError, match="is missing"):
        train(project())


def test_the_adapter_is_kept_in_fp32(project):
    from safetensors.torch import load_file

    train(project("train.max_steps=1"))
    weights = load_file(OUTPUT / "adapter" / "adapter_model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}
    assert any("down_proj" in name for name in weights)  # all linear layers have one


def test_options_reach_the_trainer(project, caplog):
    manifest = train(
        project(
            "train.max_steps=2", "train.optimizer=paged_adamw_8bit", "train.lora.targets=[q_proj, v_proj]", "train.scheduler=linear",
            "train.gradient_checkpointing=true", "train.precision=bf16", "train.track=[]",
            "train.log_steps=2",
        )
    )  # fmt: skip
    assert json.loads((OUTPUT / "adapter" / "adapter_config.json").read_text())["target_modules"] == ["q_proj", "v_proj"]
    assert manifest.info["dtype"] == "bf16"
    assert [record.getMessage()[:8] for record in caplog.records if "lr" in record.getMessage()] == ["2/2  los"]
    assert not (OUTPUT / "tensorboard").exists()


def test_a_loss_that_is_no_number_is_an_error(project):
    with pytest.raises(MlxError, match="the loss is nan at step"):
        train(project("train.learning_rate=1.0e+30", "train.max_grad_norm=1.0e+30", "train.quantization=none"))


@pytest.mark.parametrize(("micro", "hint"), [(4, "lower train.micro_batch to 2"), (1, "lower train.sequence_length")])
def test_a_gpu_that_is_full_says_what_to_lower(project, monkeypatch, micro, hint):
    import torch

    from src.train.monitor import Monitor

    def fill(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Monitor, "on_step_begin", fill)
    with pytest.raises(MlxError, match=f"memory is full with train.micro_batch {micro} and train.sequence_length 160") as error:
        train(project(f"train.micro_batch={micro}"))
    assert hint in error.value.hint
