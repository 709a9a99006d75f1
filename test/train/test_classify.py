"""Classifiers: a decoder with LoRA in each quantisation, an encoder with all its weights; killed, stopped early, loaded again."""

import json
import shutil
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.manifest import Manifest, now
from src.core.stage import folder
from src.track.metrics import read_metrics
from src.train import train

OUTPUT = folder("c", "train")
WORDS = {"bearish": ("falls", "drops", "slides"), "neutral": ("meets", "moves", "files"), "bullish": ("rises", "gains", "soars")}
THINGS = ("the bank", "oil", "gold", "the fund", "the index")
FULL = ("train.model=./encoder", "train.lora=null", "train.quantization=none", "train.learning_rate=2e-3")
PROJECT = """
name: c
seed: 5
build: {}
train:
  task: classify
  model: ./tiny
  quantization: nf4
  learning_rate: 2.0e-2
  max_steps: 12
  sequence_length: 64
  micro_batch: 4
  effective_batch: 8
  lora: {r: 4, alpha: 8, targets: [q_proj, v_proj], dropout: 0.1}
  eval_steps: 3
  save_steps: 4
  best: validation_macro_f1
  patience: 8
  classify: {labels: [bearish, neutral, bullish], watch: [validation_accuracy, validation_macro_f1]}
"""


def row(number):
    label = tuple(WORDS)[number % 3]
    text = "today " * (number % 4) + f"{THINGS[number % 5]} {WORDS[label][number // 3 % 3]}"
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
    return {"id": f"row:{number}", "messages": messages, "tools": [], "label": label, "tags": [], "sources": []}


def write_rows(train_rows, validation, config=None):
    place = Path("data/c/build")
    place.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train_rows), ("validation", validation), ("test", ())):
        (place / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    empty = {"inputs": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0, "counts": {}, "info": {}}
    Manifest(stage="build", name="c", key="k", fingerprint=str(len(train_rows)), config=config or {}, **empty).write(place)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """Folder of a BERT of two thin layers with its WordPiece."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from src.models.scratch_encoder import wordpiece

    place = tmp_path_factory.mktemp("encoder") / "encoder"
    tokenizer = wordpiece([row(number)["messages"][0]["content"] for number in range(60)], vocab=150)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), initializer_range=0.2, **size)).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture
def project(tmp_path, tiny, encoder):
    """A function that loads the project in this test's folder, with overrides."""
    shutil.copytree(tiny, tmp_path / "tiny")
    shutil.copytree(encoder, tmp_path / "encoder")
    write_rows([row(n) for n in range(48)], [row(n) for n in range(48, 66)])
    Path("c.yaml").write_text(PROJECT)
    return lambda *overrides: train.load("c.yaml", *overrides)


def result():
    rows = [{name: value for name, value in each.items() if "second" not in name} for each in read_metrics(OUTPUT / "metrics.jsonl")]
    weights = next(OUTPUT.glob("*/*model.safetensors"))
    return rows, weights.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), ("train.quantization=int8",), FULL], ids=["nf4", "int8", "encoder"])
def test_a_classifier_learns_resumes_and_predicts_the_same_when_loaded_again(project, overrides, kill_9):
    """One training undisturbed, one killed with -9 and taken up; the kept weights give the figures that were measured."""
    import numpy as np

    from src.models import class_scores
    from src.models.classifier import Classifier

    manifest = train(project(*overrides))
    undisturbed = result()
    assert manifest.info["labels"] == ["bearish", "neutral", "bullish"]
    losses = [each["validation_loss"] for each in undisturbed[0] if "validation_loss" in each]
    assert min(losses[1:]) < losses[0]
    assert {each.name for each in OUTPUT.iterdir()} >= {"loss.png", "scores.png", "confusion.png", "metrics.jsonl"}
    loaded = Classifier.of(OUTPUT).open()
    assert loaded.model.config.id2label == {0: "bearish", 1: "neutral", 2: "bullish"}
    rows = [row(number) for number in range(48, 66)]
    found = loaded.logits([loaded.encode(each["messages"][0]["content"]) for each in rows], batch_size=4)
    counts = class_scores.confusion([loaded.labels.index(each["label"]) for each in rows], found.argmax(1).tolist(), 3)
    assert counts == manifest.info["scores"]["confusion"]
    measured = next(each for each in undisturbed[0] if each["step"] == manifest.info["written_step"] and "validation_loss" in each)
    shares = loaded.probabilities([loaded.encode(each["messages"][0]["content"]) for each in rows], batch_size=4)
    loss = -np.mean([np.log(shares[n, loaded.labels.index(each["label"])]) for n, each in enumerate(rows)])
    assert loss == pytest.approx(measured["validation_loss"], abs=1e-6)

    shutil.rmtree(OUTPUT)
    kill_9(*overrides, file="c.yaml")
    assert not (OUTPUT / "manifest.json").exists()
    train(project(*overrides))
    assert result() == undisturbed


def test_training_ends_early_and_keeps_the_best_state(project):
    """A learning rate of nothing: the first measurement stays the best, and patience runs out two later."""
    overrides = (
        "train.learning_rate=1e-12",
        "train.eval_steps=1",
        "train.patience=2",
        "train.best=validation_macro_f1",
        "train.max_steps=12",
        *FULL[:3],
    )
    manifest = train(project(*overrides))
    assert (manifest.info["steps"], manifest.info["written_step"], manifest.info["ended_early"]) == (3, 1, True)
    assert read_metrics(OUTPUT / "metrics.jsonl")[-1]["step"] == 3


def test_the_output_of_an_encoder_is_a_plain_transformers_model(project):
    from transformers import pipeline

    from src.models.classifier import Classifier

    train(project(*FULL))
    loaded = Classifier.of(OUTPUT).open()
    text = row(50)["messages"][0]["content"]
    [answer] = pipeline("text-classification", model=(OUTPUT / "model").as_posix())(text, top_k=1)
    shares = dict(zip(loaded.labels, loaded.probabilities([loaded.encode(text)])[0], strict=True))
    assert answer["score"] == pytest.approx(max(shares.values()), abs=1e-5)
    assert answer["label"] == max(shares, key=shares.get)


def test_adapter_and_head_train_in_fp32_and_the_head_is_not_quantised(project):
    import torch

    from src.models.load import load_tokenizer
    from src.models.load_classifier import head_of
    from src.train.base import Base
    from src.train.class_data import Data
    from src.train.class_loss import class_loss
    from src.train.class_rows import Reading
    from src.train.class_trainer import make_class_trainer

    for quantization in ("nf4", "int8"):
        config = project(f"train.quantization={quantization}", "train.precision=bf16").section("train")
        base = Base("./tiny", "folder", "cpu", "bf16")
        data = Data(Reading(load_tokenizer("./tiny"), ("a", "b"), 64, "drop"), [], [], [1, 1])
        trainer = make_class_trainer(config, Path("work"), base, data, class_loss([1, 1], 0), seed=1)
        trained = {name: weight.dtype for name, weight in trainer.model.named_parameters() if weight.requires_grad}
        assert set(trained.values()) == {torch.float32}
        assert any("score" in name for name in trained)
        assert any("lora_A" in name for name in trained)
        assert all("bit" not in type(each).__name__ for each in head_of(trainer.model.base_model.model).modules())
        quantised = [type(each).__name__ for each in trainer.model.modules() if type(each).__name__ in ("Linear4bit", "Linear8bitLt")]
        assert len(quantised) > 8


def test_rows_without_a_class_or_too_long_are_in_the_ledger(project):
    odd = [
        {**row(0), "id": "none", "label": None},
        {**row(0), "id": "other", "label": "sideways"},
        {**row(0), "id": "long", "messages": [{"role": "user", "content": "gold rises " * 90}]},
    ]
    write_rows([row(n) for n in range(24)] + odd, [row(n) for n in range(24, 30)])
    manifest = train(project("train.max_steps=1", *FULL[:3]))
    assert manifest.counts["reasons"] == {"no_label": 1, "too_long": 1, "unknown_label": 1}
    assert manifest.counts["read"] == manifest.counts["kept"] + 3 == 33
    manifest = train(project("train.max_steps=1", "train.classify.too_long=truncate", *FULL[:3]))
    assert manifest.counts["reasons"] == {"no_label": 1, "unknown_label": 1}
    assert manifest.info["truncated"] == {"train": 1, "validation": 0}


def test_without_a_list_classes_are_those_of_the_rows_and_weights_balance_them(project):
    rows = [row(n) for n in range(24) if n % 3 or n < 9]
    write_rows(rows, [row(n) for n in range(24, 30)])
    manifest = train(project("train.max_steps=1", "train.classify.labels=[]", "train.classify.weights=balanced", *FULL[:3]))
    assert manifest.info["labels"] == ["bearish", "bullish", "neutral"]
    assert manifest.info["classes"] == {"bearish": 3, "bullish": 8, "neutral": 8}
    assert manifest.info["class_weights"]["bearish"] == pytest.approx(19 / 9)


@pytest.mark.parametrize(
    ("train_rows", "validation", "build", "fault"),
    [
        (range(24), (), None, r"no row of validation is left: the split is empty"),
        ((0, 3, 6), (9,), None, r"have 1 classes: a classifier needs two"),
        (
            range(24),
            range(3),
            {"sources": [{"type": "classes", "ask": "Class of {text}?"}]},
            r"build.sources.0.ask puts a question around each text",
        ),
    ],
)
def test_a_dataset_that_no_classifier_can_learn_from(project, train_rows, validation, build, fault):
    write_rows([row(n) for n in train_rows], [row(n) for n in validation], build)
    with pytest.raises(MlxError, match=fault):
        train(project("train.classify.labels=[]", *FULL[:3]))


@pytest.mark.parametrize("lora", ["null", "{r: 2, targets: [q_proj, v_proj]}"], ids=["encoder", "decoder"])
def test_a_base_is_made_of_the_projects_own_texts_and_kept(project, lora, caplog):
    overrides = ("train.model=scratch", f"train.lora={lora}", "train.quantization=none", "train.scratch.steps=2", "train.max_steps=2")
    first = train(project(*overrides))
    assert "making a small" in caplog.text
    caplog.clear()
    train(project(*overrides, "train.max_steps=3"))
    assert "making a small" not in caplog.text
    assert first.info["base_kind"] == "scratch"


def test_a_base_that_lacks_weights_is_an_error(project):
    from safetensors.torch import load_file, save_file

    weights = load_file("encoder/model.safetensors")
    save_file(
        {name: each for name, each in weights.items() if "layer.1.output.dense" not in name}, "encoder/model.safetensors", {"format": "pt"}
    )
    with pytest.raises(MlxError, match=r"lacks weights of the model: bert.encoder.layer.1.output.dense"):
        train(project(*FULL))


def test_chat_commands_refuse_a_classifier_and_the_other_way_round(project, trained_chat):
    from src.models.classifier import Classifier
    from src.models.trained import Trained

    train(project("train.max_steps=1", *FULL[:3]))
    with pytest.raises(MlxError, match=r"is a classifier and writes no answers"):
        Trained.of(OUTPUT)
    with pytest.raises(MlxError, match=r"is no classifier"):
        Classifier.of(trained_chat)


@pytest.fixture
def trained_chat():
    """What a training of a chat model left."""
    place = Path("chat")
    empty = {"inputs": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0, "counts": {}}
    Manifest(stage="train", name="c", key="k", fingerprint="f", config={}, info={"task": "sft"}, **empty).write(place)
    return place
