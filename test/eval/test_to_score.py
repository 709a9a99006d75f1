"""Answers that people score: blind, from every model alike, and read back as the very texts that the judge is asked about."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.eval import eval as evaluate
from src.eval.cases import Case
from src.eval.llm_judge import LlmJudge
from src.eval.to_score import COUNT, write_to_score

ODD = '=HYPERLINK("x"), "quoted"\nand a line'


@pytest.fixture
def asked(evidence, tmp_path):
    cases = [
        Case(f"q:{n}#1", f"q:{n}", f"q:{n}", (), [{"role": "user", "content": f"Question {n}?"}], [], {"content": f"Reference {n}."})
        for n in range(60)
    ]
    answers = {
        "base": {case.id: f"base {n}" for n, case in enumerate(cases)},
        "tuned": {case.id: ODD if n < 55 else "" for n, case in enumerate(cases)},
    }
    return replace(evidence(cases, answers), cache=tmp_path / "cache")


def written(asked):
    stream = io.StringIO()
    count = write_to_score(stream, asked, ["wit"])
    return count, stream.getvalue()


def test_every_model_and_the_reference_have_their_share_without_a_name(asked):
    count, text = written(asked)
    assert text.startswith("\ufeff")
    header, *rows = csv.reader(io.StringIO(text[1:]))
    assert header == ["question", "answer", "wit"]
    assert count == len(rows) == COUNT
    kinds = {kind: sum(row[1].startswith(kind) for row in rows) for kind in ("base", "'=HYPERLINK", "Reference")}
    assert sum(kinds.values()) == COUNT  # nothing empty
    assert min(kinds.values()) >= 6
    assert {row[2] for row in rows} == {""}
    assert written(asked) == (count, text)


def test_scored_it_is_what_the_judge_is_held_against(asked, tmp_path):
    _, text = written(asked)
    _, *rows = csv.reader(io.StringIO(text[1:]))
    file = tmp_path / "scored.csv"
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows(
            [["question", "answer", "wit"], *([q, a, "5" if a.startswith("Reference") else "1"] for q, a, _ in rows)]
        )
    rules = [{"match": '"answer": "Reference', "reply": '{"reason": "", "score": 5}'}]
    judge = LlmJudge(
        backend={"type": "scripted", "rules": rules, "default": '{"reason": "", "score": 1}'},
        rubrics={"wit": {"asks": "?"}},
        compare=False,
        people=file,
    )
    finding = judge.score(asked)
    detail = finding.detail["judge"]["wit"]
    assert detail["agreement"]["rows"] == COUNT
    assert detail["agreement"]["kappa"] == 1
    assert not finding.measures[0].doubt
    odd = next(row for row in finding.measures[0].rows["tuned"] if row.id == "q:0#1")
    assert odd.value == 1


def test_the_stage_writes_it_where_nobody_has_scored_yet(project):
    judge = (
        '{type: judge, backend: {type: scripted, default: \'{"reason": "", "score": 3}\'}, rubrics: {wit: {asks: \'?\'}}, compare: false}'
    )
    evaluate(evaluate.load(project(f"{{metrics: [{judge}], max_new_tokens: 8}}")))
    text = Path("data/lamp/eval/to_score.csv").read_text(encoding="utf-8-sig")
    assert text.startswith('"question","answer","wit"\n')
    assert "Tell me of day" in text
    assert "to_score.csv" in Path("data/lamp/eval/report.md").read_text()
    people = judge.replace("compare: false", "compare: false, people: data/lamp/eval/to_score.csv")
    with pytest.raises(MlxError, match=r"to_score.csv would be lost"):
        evaluate(evaluate.load(project(f"{{metrics: [{people}], max_new_tokens: 8}}")))
    assert Path("data/lamp/eval/to_score.csv").exists()
