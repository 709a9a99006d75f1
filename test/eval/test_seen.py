"""A test row that training had is found, whichever way it was copied; patterns that all rows share are none."""

import json
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.files import read_jsonl, write_jsonl
from src.eval import eval as evaluate
from src.eval.contamination import Contamination
from src.eval.seen import refuse, seen, training_rows

ANSWER = "The fog came in before noon, and by three the gulls had gone to the mainland, every last one of them."


def row(name, question, answer, calls=None):
    said = {"role": "assistant", "content": answer, **({"tool_calls": [{"function": each} for each in calls]} if calls else {})}
    return {"id": name, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": question}, said]}


def found(held, training, **settings):
    return {name: each.how for name, each in seen(Contamination(**settings), held, training).found.items()}


def test_answers_are_found_word_for_word_by_runs_and_nearly():
    held = [row(f"t{n}", f"Question {n}?", f"{ANSWER} {n}") for n in range(1)]
    assert found(held, [row("a", "Other?", f"{ANSWER.upper()} 0")]) == {"t0": "exact"}
    assert found(held, [row("a", "Other?", f"I recall this: {ANSWER} And much else besides, of other days and other weather.")]) == {
        "t0": "ngram"
    }
    assert found(held, [row("a", "Other?", ANSWER.replace("gulls", "terns") + " 0")], ngram=30, threshold=0.6) == {"t0": "near"}
    assert found(held, [row("a", "Question 0?", "The fog came in before noon.")]) == {}


def test_whole_exchanges_are_found_though_short_but_shared_requests_are_not():
    call = {"name": "set_light", "arguments": {"room": "hall", "level": 1}}
    held = [row("t", "Light the hall at 1.", None, [call]), row("u", "Say yes.", "Yes.")]
    other = {"name": "set_light", "arguments": {"room": "hall", "level": 2}}
    assert found(held, [row("a", "Light the hall at 1.", None, [other]), row("b", "Say yes!", "Yes.")]) == {}
    assert found(held, [row("a", "Light the hall at 1.", None, [call]), row("b", "Say yes.", "Yes.")]) == {"t": "exact", "u": "exact"}


def test_rows_with_the_same_answer_are_all_found():
    held = [row("t1", "A?", ANSWER), row("t2", "B?", ANSWER), row("t3", "C?", "Something of my own that no one else has ever said before.")]
    report = seen(Contamination(), held, [row("a", "Z?", ANSWER)])
    assert list(report.found) == ["t1", "t2"]
    assert report.told()["share"] == pytest.approx(2 / 3, abs=1e-6)
    assert report.told()["ways"] == {"exact": 2}


def test_too_much_of_it_is_refused_with_the_rows():
    report = seen(Contamination(), [row("t1", "A?", ANSWER), row("t2", "B?", "No.")], [row("a", "Z?", ANSWER)])
    refuse(Contamination(most=0.5), report)
    with pytest.raises(MlxError, match=r"seen 1 of 2 held-out rows \(50%, most 10%\): t1 \(exact: a:"):
        refuse(Contamination(), report)


def test_where_there_are_no_training_rows_nothing_is_found(tmp_path):
    assert list(training_rows(tmp_path)) == []
    write_jsonl(tmp_path / "train.jsonl", [row("a", "A?", "B")])
    assert [each["id"] for each in training_rows(tmp_path)] == ["a"]
    assert [each["id"] for each in training_rows(tmp_path / "test.jsonl")] == ["a"]
    assert list(training_rows(tmp_path / "train.jsonl")) == []


def test_the_stage_stops_before_a_model_is_loaded_and_else_reports(project, examples, monkeypatch):
    file = project("{metrics: [{type: perplexity}]}")
    write_jsonl(Path("data/lamp/build/train.jsonl"), examples[:3])
    with monkeypatch.context() as patch:
        patch.setattr("src.models.trained.Trained.load", lambda *_, **__: pytest.fail("the weights are loaded"))
        with pytest.raises(MlxError, match="training has seen 3 of 19 held-out rows"):
            evaluate(evaluate.load(file))
    evaluate(evaluate.load(project("{metrics: [{type: perplexity}], contamination: {most: 0.2}}")))
    told = json.loads(Path("data/lamp/eval/metrics.json").read_text())["contamination"]
    assert (told["found"], told["rows"]) == (3, 19)
    assert "## Was the test learned?" in Path("data/lamp/eval/report.md").read_text()
    evaluate(evaluate.load(project("{metrics: [{type: perplexity}], contamination: null}")))
    assert json.loads(Path("data/lamp/eval/metrics.json").read_text())["contamination"] is None
    assert len(list(read_jsonl(Path("data/lamp/eval/scores/tuned.jsonl")))) == 2 * 19
