"""A classifier's figures are scikit-learn's, with honest intervals; the stage goes from a trained one to a report with gates."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_recall_fscore_support

from src.core.errors import MlxError
from src.core.files import read_jsonl, write_jsonl
from src.core.manifest import Manifest, now
from src.eval import eval as evaluate
from src.eval import exit_code
from src.eval.bootstrap import difference, estimate, interval
from src.eval.classification import Classification, calibration_error, guess
from src.eval.measure import Classified, Row

LABELS = ("bearish", "neutral", "bullish")
OUT = Path("data/c/eval")


def asked(count, seed=1, right=0.7):
    """Rows whose true class a model finds with some chance; the base always says the commonest."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        true = chance.choices(range(3), (2, 5, 3))[0]
        said = true if chance.random() < right else chance.randrange(3)
        sure = chance.uniform(0.4, 1)
        shares = tuple(sure if place == said else (1 - sure) / 2 for place in range(3))
        rows.append(Classified(f"row:{number}", f"row:{number}", (), "text", true, {"base": (0.2, 0.5, 0.3), "tuned": shares}))
    return rows


@pytest.fixture
def score(evidence):
    from dataclasses import replace

    def scored(rows):
        finding = Classification().score(replace(evidence([], {}), classified=rows, labels=LABELS))
        return {measure.name.removeprefix("classification."): measure for measure in finding.measures}, finding.detail["classification"]

    return scored


def value(measure, model):
    return estimate(measure.rows[model], figure=measure.figure)


def test_figures_are_scikit_learns(score):
    rows = asked(300)
    measures, detail = score(rows)
    true = [row.true for row in rows]
    for model in ("base", "tuned"):
        said = [guess(row, model) for row in rows]
        assert value(measures["accuracy"], model) == pytest.approx(accuracy_score(true, said))
        assert value(measures["macro_f1"], model) == pytest.approx(f1_score(true, said, average="macro", zero_division=0))
        assert value(measures["mcc"], model) == pytest.approx(matthews_corrcoef(true, said))
    each = precision_recall_fscore_support(true, [guess(row, "tuned") for row in rows], zero_division=0)
    found = [[by["precision"], by["recall"], by["f1"], by["rows"]] for by in detail["classes"].values()]
    assert found == [pytest.approx(list(line)) for line in zip(*each, strict=True)]
    assert all(by["f1_low"] < by["f1"] < by["f1_high"] for by in detail["classes"].values())


def test_calibration_error_is_the_gap_between_being_sure_and_being_right(score):
    """Ten rows at .9, six of them right; ten at .55, all right: (10 x .3 + 10 x .45) / 20."""

    def row(number, sure, right):
        true = 0 if right else 1
        return Classified(str(number), str(number), (), "", true, {"tuned": (sure, 1 - sure, 0.0)})

    rows = [row(n, 0.9, n < 6) for n in range(10)] + [row(10 + n, 0.55, True) for n in range(10)]
    measures, _ = score(rows)
    assert value(measures["ece"], "tuned") == pytest.approx(0.375)
    assert measures["ece"].lower_is_better
    assert calibration_error(np.array([[-1.0, 2.0, 4.0], [1.0, 0.0, 1.0]])).tolist() == [0.75, 1.0]


def test_the_interval_of_a_macro_f1_holds_the_truth(score):
    """Truth: the figure of a hundred times as many rows."""
    truth = value(score(asked(8000, seed=99))[0]["macro_f1"], "tuned")
    held = 0
    for seed in range(30):
        measure = score(asked(200, seed=seed))[0]["macro_f1"]
        found = interval(measure.rows["tuned"], seed=seed, figure=measure.figure)
        held += found.low <= truth <= found.high
    assert held >= 25


def test_a_resampled_figure_is_that_of_the_rows_drawn():
    """A ratio, spelled as a figure of parts, has the very interval of the ratio; documents are drawn whole by both."""
    chance = random.Random(4)
    rows = [Row(str(n), str(n // 3), (), v := float(chance.random() < 0.4), 2.0, "", (v, 2.0)) for n in range(60)]
    other = [Row(row.id, row.group, (), 1 - row.value, 2.0, "", (1 - row.value, 2.0)) for row in rows]

    def ratio(sums):
        return sums[..., 0] / sums[..., 1]

    assert interval(rows, seed=3, figure=ratio).low == pytest.approx(interval(rows, seed=3).low)
    assert interval(rows, seed=3, figure=ratio).units == 20
    assert difference(other, rows, seed=3, figure=ratio).high == pytest.approx(difference(other, rows, seed=3).high)


def test_a_classifier_that_is_always_right_is_not_certainly_so(score):
    measures, _ = score(asked(40, right=1.1))
    found = interval(measures["macro_f1"].rows["tuned"], seed=1, figure=measures["macro_f1"].figure)
    assert (found.value, found.high) == (1, pytest.approx(1))
    assert 0.85 < found.low < 1
    base = interval(measures["mcc"].rows["base"], seed=1, figure=measures["mcc"].figure)
    assert (base.low, base.high) == (0, 0)  # what always says the same has no correlation, certainly


def test_a_model_that_chats_has_no_classes(evidence):
    finding = Classification().score(evidence([], {}))
    assert set(finding.missing.values()) == {"the model is no classifier"}


def manifest(folder, stage, info):
    empty = {"inputs": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0, "counts": {}}
    Manifest(stage=stage, name="c", key=stage, fingerprint=stage, config={}, info=info, **empty).write(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An encoder with random weights, as `train` leaves one whose weights were all trained."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from src.models.scratch_encoder import wordpiece

    place = tmp_path_factory.mktemp("classifier")
    tokenizer = wordpiece(["shares fall", "shares rise", "the board meets today and tomorrow"], vocab=120)
    torch.manual_seed(2)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}
    size |= {"vocab_size": len(tokenizer), "initializer_range": 0.4}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: n for n, label in enumerate(LABELS)}}
    BertForSequenceClassification(BertConfig(**size, **names)).save_pretrained(place / "model")
    tokenizer.save_pretrained(place / "model")
    info = {
        "base": "bert",
        "base_kind": "hub",
        "task": "classify",
        "quantization": "none",
        "dtype": "fp32",
        "device": "cpu",
        "template": "t",
    }
    manifest(
        place, "train", {**info, "labels": LABELS, "priors": (0.2, 0.5, 0.3), "weights": "model", "max_tokens": 12, "too_long": "drop"}
    )
    return place


@pytest.fixture
def project(model):
    """A function that writes a project whose training is done, with the eval section given."""
    import shutil

    words = ("shares fall", "the board meets", "shares rise", "today shares fall and rise", "tomorrow")
    texts = [f"{words[n % 5]} {'today ' * (n % 3)}" for n in range(30)]
    rows = [{"id": f"r:{n}", "messages": [{"role": "user", "content": text}], "label": LABELS[n % 3]} for n, text in enumerate(texts)]
    odd = [
        {"id": "odd:class", "messages": rows[0]["messages"], "label": "sideways"},
        {"id": "odd:none", "messages": rows[0]["messages"], "label": None},
        {"id": "odd:long", "messages": [{"role": "user", "content": "shares " * 40}], "label": "bullish"},
        rows[0],
    ]
    write_jsonl(Path("data/c/build/test.jsonl"), rows + odd)
    manifest(Path("data/c/build"), "build", {})
    shutil.copytree(model, "checkpoint/c/train")

    def write(section):
        Path("c.yaml").write_text(f"name: c\nbuild: {{}}\ntrain: {{}}\neval: {section}\n")
        return evaluate.load("c.yaml")

    return write


def test_the_stage_measures_a_classifier(project):
    made = evaluate(project("{limit: null, batch_size: 4}"))
    assert made.counts["reasons"] == {"duplicate_id": 1, "no_label": 1, "too_long": 1, "unknown_label": 1}
    assert made.counts["kept"] == 30
    predictions = list(read_jsonl(OUT / "predictions/tuned.jsonl"))
    true, said = [row["label"] for row in predictions], [row["predicted"] for row in predictions]
    assert made.info["figures"]["classification.macro_f1"]["tuned"] == pytest.approx(f1_score(true, said, average="macro"), abs=1e-6)
    assert made.info["figures"]["classification.accuracy"]["base"] == pytest.approx(1 / 3, abs=1e-6)
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in predictions)
    report = (OUT / "report.md").read_text()
    assert "## By class" in report
    assert "the base names each class" in report.lower()
    assert (OUT / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((OUT / "metrics.json").read_text())["detail"]["classification"]["labels"] == list(LABELS)
    assert made.info["missing"] == {}


def test_gates_of_a_classifier_set_the_exit_code(project):
    fails = "{limit: null, metrics: [{type: classification}], gates: [{metric: classification.macro_f1, min: 0.999}]}"
    assert exit_code(evaluate(project(fails))) == 1
    passes = "{limit: null, metrics: [{type: classification}], gates: [{metric: classification.ece, max: 1}]}"
    assert exit_code(evaluate(project(passes))) == 0


def test_figures_that_a_classifier_has_not_are_missing_with_the_reason(project):
    made = evaluate(project("{metrics: [{type: classification}, {type: perplexity}]}"))
    assert made.info["missing"] == {"perplexity": "the model is a classifier"}


def test_without_a_row_it_can_read_it_says_why(project):
    write = project("{}")
    write_jsonl(Path("data/c/build/test.jsonl"), [{"id": "a", "messages": [{"role": "user", "content": "x"}], "label": "up"}])
    with pytest.raises(MlxError, match=r"none of 1 rows can be measured: unknown_label 1"):
        evaluate(write)


def test_serving_refuses_it_in_words(project, model):
    from src.serve import serve

    project("{}")
    Path("c.yaml").write_text("name: c\nbuild: {}\ntrain: {}\nserve: {port: 0}\n")
    with pytest.raises(MlxError, match=r"is a classifier and writes no answers"):
        serve(serve.load("c.yaml"))
