"""The report says what the figures say, and stays in shape whatever a model writes."""

import json
import re
from pathlib import Path

from src.eval.blocks import markdown
from src.eval.gates import Gate
from src.eval.page import page
from src.eval.plots import plots
from src.eval.report import blocks, summary_table
from src.eval.results import results
from src.eval.samples import worst_answers
from src.eval.tool_calls import ToolCalls

BINS = [{"said": 0.1, "true": 0.2, "rows": 5, "weight": 0.5}, {"said": 0.9, "true": 0.8, "rows": 5, "weight": 0.5}]
JUDGE = {
    "accuracy": 0.9,
    "accuracy_interval": [0.8, 0.95],
    "balanced_accuracy": 0.88,
    "f1": 0.91,
    "roc_auc": 0.95,
    "bar": 0.6,
    "above_bar": {"persona": 0.8, "other": 0.05},
    "confusion": [[90, 10], [5, 95]],
    "calibration": {"ece": 0.02, "brier": 0.1, "bins": BINS, "before": {"ece": 0.1, "brier": 0.2}},
    "delta": {"balanced_accuracy": 0.6, "f1": 0.6, "confusion": [[60, 40], [40, 60]]},
    "without_content": {"balanced_accuracy": 0.7},
    "matched": {"pairs": 9, "likeness": 0.2, "any": 0.05, "accuracy": 0.7},
    "grouped_by_source": True,
    "folds": 3,
    "pieces": {"persona": 100, "other": 100},
    "documents": {"persona": 4, "other": 3},
}
SETTINGS = {"base": "models/small", "split": "test", "limit": None, "seed": 7}


def found(calling, plain, right, evidence, gates=()):
    texts = right | {case.id: "Well enough, I thank you." for case in plain}
    tuned = texts | {calling[0].id: "```\n| oops | <b>` _x_\n```", calling[1].id: "long " * 300}
    seen = evidence(calling + plain, {"base": dict.fromkeys(texts, "no"), "tuned": tuned})
    finding = ToolCalls().score(seen)
    made = {"settings": SETTINGS, **results([finding], gates, 7)}
    made["examples"] = worst_answers(finding.measures, seen)
    made["missing"]["style.persona"] = "there is no | persona"
    return made


def test_the_table_for_the_terminal(calling, plain, right, evidence):
    made = found(calling, plain, right, evidence, [Gate(metric="tool_calls.accuracy", against="base", min_delta=0.5)])
    lines = summary_table(made).splitlines()
    accuracy = next(line for line in lines if line.startswith("tool_calls.accuracy"))
    assert accuracy.split()[1:5] == ["0.000", "[0.000,", "0.074]", "0.958"]
    assert accuracy.endswith("better")
    assert any(line.split()[:3] == ["style.persona", "not", "measured"] for line in lines)
    assert lines[-1].startswith("gate pass: tool_calls.accuracy: 0.9583 [")


def test_the_report_holds_tables_tags_gates_samples_and_method(calling, plain, right, evidence):
    text = markdown(blocks(found(calling, plain, right, evidence, [Gate(metric="tool_calls.name", min=0.99)]), "lamp", ["figures.png"]))
    assert "| tool_calls.accuracy | 0.000 [0.000, 0.074] | 0.958 [" in text
    assert "| tag | tool_calls.valid | tool_calls.schema | tool_calls.name | tool_calls.accuracy | tool_calls.ast |" in text
    assert "| unseen:tool | **0.000 → 0.958 (24)** |" in text
    assert "| kind:none |  |  |  |  |  |  | 0.000 → 0.000 (8) | 1.000 → 1.000 (8) |" in text
    assert "`style.persona` is not measured: there is no | persona" in text
    assert "## Gates: UNDECIDED" in text
    assert "**UNDECIDED** base, tuned on all rows of the test split; 0 of 1 gates passed." in text
    assert re.search(r"\| tool_calls.accuracy \| .* \| better \| ±0\.\d+ \| 48 \|", text)
    assert "![Every figure of every model, with its 95 % interval.](figures.png)" in text
    assert "- limit: all" in text
    assert "tool_calls.relevance: 8 rows, intervals over 8 rows, each drawn alone" in text
    assert "no call" in text
    columns = {line.count(" | ") for line in text.split("\n") if line.startswith("| tool_calls")}
    assert columns == {2, 6, 7}  # gates, figures, comparisons


def test_text_of_a_model_cannot_break_out_of_its_fence(calling, plain, right, evidence):
    text = markdown(blocks(found(calling, plain, right, evidence), "lamp", []))
    assert "````text\n```\n| oops | <b>` _x_\n```\n````" in text
    assert "long …\n```" in text


def test_worst_answers_are_those_that_cost_and_each_row_once(calling, plain, right, evidence):
    samples = found(calling, plain, right, evidence)["examples"]
    assert [each["id"] for each in samples] == [calling[0].id, calling[1].id]
    assert samples[0]["why"] == "no call"
    assert json.loads(samples[0]["expected"]) == calling[0].calls[0]
    assert samples[0]["prompt"] == calling[0].request
    assert samples[0]["base"] == "no"


def test_plots_are_pictures_with_the_same_bytes_each_time(calling, plain, right, evidence, tmp_path):
    made = found(calling, plain, right, evidence)
    made["metrics"].append(
        {
            "name": "perplexity",
            "better": "lower",
            "models": {"base": {"value": 600.0, "low": 500.0, "high": None}, "tuned": {"value": 1.1, "low": 1.05, "high": 1.2}},
        }
    )
    made["detail"] = {"style": JUDGE, "classification": {"labels": ["up", "down"], "confusion": [[3, 1], [0, 4]], "calibration": BINS}}
    made["lengths"] = {"reference": {"rows": 9, "words": [1, 2, 3, 5, 9]}, "tuned": {"rows": 9, "words": [1, 1, 2, 2, 40], "cut": 0.25}}
    first, second = tmp_path / "a", tmp_path / "b"
    names = plots(first, made)
    assert names == ["figures.png", "style_judge.png", "confusion.png", "lengths.png"]
    assert plots(second, made) == names
    for name in [*names, *(Path(name).with_suffix(".svg") for name in names)]:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert all((first / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert ">25% cut off<" in (first / "lengths.svg").read_text()
    assert plots(first, {"metrics": [], "detail": {}}) == []


def test_pictures_in_the_page_take_its_colours(calling, plain, right, evidence, tmp_path):
    made = found(calling, plain, right, evidence)
    text = page(blocks(made, "lamp", plots(tmp_path, made)), tmp_path, "lamp")
    assert "<svg role=" in text
    assert "currentColor" in text
    assert "<img" not in text
    assert not re.search(r"<(script|link|iframe)|(src|href)=\"(?!#)", text.partition("<svg")[0])
    assert "http:" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)  # names of formats alone


def test_the_judges_own_test_is_told(calling, plain, right, evidence):
    made = found(calling, plain, right, evidence)
    judge = JUDGE | {"reference": 0.75}
    made["detail"] = {"style": judge}
    text = markdown(blocks(made, "lamp", []))
    assert "Tested in 3 folds with whole documents held out: accuracy 0.900 [0.800, 0.950], balanced 0.880, F1 0.910" in text
    assert "With all but the commonest words starred its balanced accuracy is 0.700; on the 9 pairs nearest in topic" in text
    assert "Off by 0.020 in the mean (expected calibration error; 0.100 before they were calibrated)" in text
    assert "Burrows' Delta, by common words alone: balanced accuracy 0.600" in text
    assert "Its bar of 0.60 lets 80.0% of the persona's unseen pieces through, and 5.0% of the others." in text
    assert "It gives 75.0% of the reference answers to the persona" in text
    judge["grouped_by_source"] = False
    assert "since a voice has but one document" in markdown(blocks(made, "lamp", []))
