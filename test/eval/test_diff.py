"""What flipped between two evaluations, and with which words."""

import pytest
from typer.testing import CliRunner

from src.cli import application
from src.core.errors import MlxError
from src.core.files import write_jsonl
from src.eval.diff import diff


def score(name, metric, value, why="", *, weight=1, better="higher"):
    return {"id": name, "metric": metric, "value": float(value), "weight": float(weight), "why": why, "better": better}


def output(folder, right, *, nats=1.0, model="tuned"):
    lines = [
        {
            "id": f"t{n}",
            "metric": "tool_calls.accuracy",
            "value": float(n in right),
            "weight": 1.0,
            "why": "" if n in right else "no call",
            "better": "higher",
        }
        for n in range(6)
    ]
    lines += [{"id": "t0", "metric": "perplexity", "value": nats, "weight": 4, "why": "", "better": "lower"}]
    write_jsonl(folder / f"scores/{model}.jsonl", lines)
    write_jsonl(folder / f"predictions/{model}.jsonl", [{"id": f"t{n}", "text": f"{folder.name} says\n{n}"} for n in range(6)])
    return folder


def test_flips_are_counted_and_shown_with_both_answers(tmp_path):
    old, new = output(tmp_path / "old", {0, 1}), output(tmp_path / "new", {1, 2, 3}, nats=0.5)
    lines = list(diff(old, new))
    assert lines[0] == "tool_calls.accuracy: 2 better, 1 worse, 3 as before (p 1)"
    assert lines[1] == "perplexity: 1 better, 0 worse, 0 as before (p 1)"
    text = "\n".join(lines)
    assert "worse: t0 (tool_calls.accuracy)\n  before: 1\n    old says 0\n  after: 0 – no call\n    new says 0" in text
    assert text.index("worse: t0") < text.index("better: t2")
    assert "(perplexity)" not in text


def test_the_command(tmp_path):
    old, new = output(tmp_path / "old", {0}), output(tmp_path / "new", {0, 1}, model="v1")
    output(tmp_path / "old", {0}, model="v1")
    run = CliRunner().invoke(application(["eval"]), ["eval", "diff", str(old), str(new), "--model", "v1"])
    assert run.exit_code == 0, run.output
    assert "1 better, 0 worse, 5 as before" in run.output


def test_what_cannot_be_compared_says_what_to_do(tmp_path):
    old = output(tmp_path / "old", {0})
    with pytest.raises(MlxError, match="is not there") as error:
        list(diff(old, old, "v9"))
    assert "--model" in error.value.hint
    write_jsonl(tmp_path / "other/scores/tuned.jsonl", [score("z", "a", 1)])
    with pytest.raises(MlxError, match="share no row"):
        list(diff(old, tmp_path / "other"))
    with pytest.raises(MlxError, match="diff compares two folders"):
        CliRunner().invoke(application(["eval"]), ["eval", "diff", str(old)], catch_exceptions=False)
