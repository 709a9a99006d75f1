"""The harness asks a served model about rows of a local file, and its figures become ours."""

import json
import sys
from pathlib import Path

import pytest

from src.eval.lm_eval import LmEval

TASK = """
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""


def test_samples_become_rows():
    metric = LmEval(tasks={"a": "acc", "b": "f1"}, model="m")
    assert metric.names == ("lm_eval.a", "lm_eval.b")
    samples = {"a": [{"doc_id": 1, "acc": 0.0}, {"doc_id": 0, "acc": 1.0}, {"doc_id": 0, "acc": 0.5}], "b": [{"doc_id": 0, "acc": 1.0}]}
    finding = metric._finding(samples, "0")
    assert [(row.id, row.value) for row in finding.measures[0].rows["tuned"]] == [("lm_eval.a:0", 1.0), ("lm_eval.a:1", 0.0)]
    assert finding.missing == {"lm_eval.b": "the task gives no 'f1'"}


def test_without_the_extra_nothing_is_measured(evidence, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    finding = LmEval(tasks={"a": "acc"}, model="m").score(evidence([], {}))
    assert "uv sync --extra lm_eval" in finding.missing["lm_eval.a"]


def test_files_are_those_of_own_tasks(tmp_path):
    (tmp_path / "t.yaml").write_text("task: t\n")
    assert list(LmEval(tasks={"t": "acc"}, model="m", include=tmp_path).files()) == [tmp_path / "t.yaml"]
    assert list(LmEval(tasks={"t": "acc"}, model="m").files()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
def test_a_task_over_a_local_file(evidence, tmp_path):
    pytest.importorskip("lm_eval", reason="needs the extra lm_eval")
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("scripted_openai", Path(__file__).parents[1] / "servers/scripted_openai.py")
    scripted = sys.modules["scripted_openai"] = module_from_spec(spec)
    spec.loader.exec_module(scripted)
    rows = [{"question": f"Capital of land {n}?", "answer": f"City {n}"} for n in range(6)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/capitals.yaml").write_text(TASK.replace("FILE", str(file)))
    script = scripted.Script(answer=lambda text: f"City {text.split()[-1].strip('?')}" if "land 5" not in text else "Atlantis")
    with scripted.running(script) as url:
        metric = LmEval(tasks={"capitals": "exact_match"}, model="m", base_url=url, include=tmp_path / "tasks")
        finding = metric.score(evidence([], {}))
    assert [row.value for row in finding.measures[0].rows["tuned"]] == [1, 1, 1, 1, 1, 0]
    assert len(script.asked) == 6
