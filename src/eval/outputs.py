"""Writes what an evaluation leaves behind: predictions, scores of each row, figures, pictures, the report."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.core.files import to_json, write_jsonl, write_text
from src.core.run import Run
from src.eval.blocks import markdown
from src.eval.held import Held
from src.eval.llm_judge import LlmJudge
from src.eval.measure import Evidence, Measure
from src.eval.page import page
from src.eval.plots import plots
from src.eval.predictions import rows
from src.eval.report import blocks, summary_table
from src.eval.to_score import FILE, write_to_score
from src.llm.client import Reply

Likelihoods = Mapping[str, Mapping[str, tuple[float, int]]]
"""Nats and tokens, by model and example."""


def write_predictions(run: Run, held: Held, answers: Mapping[str, Mapping[str, Reply]], likelihoods: Likelihoods) -> None:
    """Write what each model said and how it scored the rows that count."""
    for name, said in answers.items():
        write_jsonl(run.output / "predictions" / f"{name}.jsonl", rows((case.id, said[case.id]) for case in held.cases))
    for name, liked in likelihoods.items():
        lines = ({"id": each, "nats": liked[each][0], "tokens": liked[each][1], "bytes": held.bytes_of[each]} for each in held.bytes_of)
        write_jsonl(run.output / "predictions" / f"{name}.likelihood.jsonl", lines)


def write_for_people(run: Run, metrics: Iterable[Any], evidence: Evidence) -> None:
    """Where a judge has not been compared with people, write answers that they can score."""
    for judge in (metric for metric in metrics if isinstance(metric, LlmJudge) and metric.people is None):
        with run.write(FILE) as stream:
            count = write_to_score(stream, evidence, list(judge.rubrics), judge.tags)
        run.log.info("%d answers to score: move %s elsewhere, fill it in, and set the judge's `people` to it", count, FILE)


def write_scores(run: Run, measures: Sequence[Measure]) -> None:
    """Write what each row counted for each figure, by model: what `mlx eval diff` compares."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for measure in measures:
        better = "lower" if measure.lower_is_better else "higher"
        for model, rows_of_model in measure.rows.items():
            lines.setdefault(model, []).extend(
                {"id": row.id, "metric": measure.name, "value": row.value, "weight": row.weight, "why": row.why, "better": better}
                for row in rows_of_model
            )
    for model, scores in lines.items():
        write_jsonl(run.output / "scores" / f"{model}.jsonl", scores)


def publish(run: Run, found: Mapping[str, Any]) -> None:
    """Write the figures, the plots and the report, and note the verdict for the command line."""
    write_text(run.output / "metrics.json", _indented(found))
    report = list(blocks(found, run.name, plots(run.output, found)))
    write_text(run.output / "report.md", markdown(report))
    write_text(run.output / "report.html", page(report, run.output, f"{run.name}: evaluation"))
    run.info |= {
        "verdict": found["verdict"],
        "gates": found["gates"],
        "table": summary_table(found),
        "figures": {figure["name"]: {model: each["value"] for model, each in figure["models"].items()} for figure in found["metrics"]},
        "missing": found["missing"],
        "settings": found["settings"],
    }
    for gate in found["gates"]:
        if gate["verdict"] != "pass":
            run.log.warning("gate %s: %s: %s", gate["verdict"], gate["metric"], gate["why"])


def _indented(found: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(to_json(found)), indent=2, ensure_ascii=False) + "\n"
