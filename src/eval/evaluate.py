"""One evaluation from held-out rows to the report: models answer once, metrics read, gates judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from src.core.files import to_json, write_jsonl, write_text
from src.core.records import Example, Record
from src.core.run import Run
from src.eval.asking import Asking
from src.eval.blocks import markdown
from src.eval.cases import chosen, read_examples, used
from src.eval.contamination import Contamination
from src.eval.engine import EngineChoice, Servers
from src.eval.gates import Gate
from src.eval.held import Held, hold, nothing_left
from src.eval.lengths import lengths
from src.eval.measure import Evidence, Finding, Measure, Row
from src.eval.models import BaseModel, ModelChoice, Release, Remote
from src.eval.page import page
from src.eval.plots import plots
from src.eval.predictions import opened, rows
from src.eval.report import blocks, summary_table
from src.eval.results import results
from src.eval.samples import worst_answers
from src.eval.seen import refuse, seen, training_rows
from src.eval.significance import told
from src.eval.weights import Weights
from src.llm.client import Reply
from src.models.trained import Trained

SCHEMA = 2


class Metric(Protocol):
    """What every metric is."""

    @property
    def type(self) -> str:
        """Its name in the config."""

    @property
    def reads(self) -> str:
        """`answers`, `likelihoods` or `classes`."""

    def score(self, evidence: Evidence) -> Finding:
        """Turn what the models did into figures."""


@dataclass(frozen=True)
class Plan:
    """What an evaluation is asked to do."""

    metrics: Sequence[Metric]
    gates: Sequence[Gate]
    models: Sequence[ModelChoice]
    engine: EngineChoice
    contamination: Contamination | None
    split: str
    limit: int | None
    max_new_tokens: int
    batch_size: int


@dataclass
class Gathered:
    """What the models did."""

    said: dict[str, dict[str, Reply]] = field(default_factory=dict)
    liked: dict[str, dict[str, tuple[float, int]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Cases that a model left unanswered, and why."""


def evaluate(run: Run, plan: Plan) -> None:
    """Measure, and write predictions, scores, `metrics.json`, plots and the report."""
    dataset = run.input("dataset")
    trained = Trained.of(run.input("model").path)
    examples = read_examples(dataset.path, plan.split)
    names = chosen(examples, plan.limit, run.seed)
    on_disk, tuned = weights_of(plan.models, trained)
    coders = list(on_disk.values()) or [tuned]
    held = hold(run, [each for each in examples if each["id"] in names], coders, documents_of(run))
    learned = learned_before(run, plan, dataset.path, [each for each in examples if each["id"] in held.places])
    sees = told(len(held.cases), len({case.group for case in held.cases}))
    run.log.info("%s", sees)
    with opened(run.cache) as kept:
        asking = Asking(run, kept, plan.engine, plan.max_new_tokens, plan.batch_size)
        gathered = ask(asking, plan, held, on_disk, tuned)
    run.log.info("%d questions asked, %d answered before", asking.made, asking.known)
    for drop in held.without(gathered.failed):
        run.ledger.drop(drop)
    run.ledger.keep(len(held.places))
    if not held.cases:
        raise nothing_left(run)
    write_predictions(run, held, gathered)
    outside = used(examples)
    evidence = Evidence(
        cases=held.cases,
        answers={name: {case.id: said[case.id].text for case in held.cases} for name, said in gathered.said.items()},
        likelihoods={name: _likelihoods(held, liked) for name, liked in gathered.liked.items()},
        bytes_of=held.bytes_of,
        records=(record for record in _records(run) if record.id not in outside),
        persona=dataset.manifest.info.get("persona") if dataset.manifest else None,
        seed=run.seed,
        cache=run.cache,
    )
    findings = [metric.score(evidence) for metric in plan.metrics]
    for drop in (each for finding in findings for each in finding.drops):
        run.ledger.drop(drop)
    settings = {
        "base": trained.base,
        "quantization": trained.quantization,
        "split": plan.split,
        "rows": len(held.places),
        "rows_in_split": len(examples),
        "turns": len(held.cases),
        "limit": plan.limit,
        "max_new_tokens": plan.max_new_tokens,
        "batch_size": plan.batch_size,
        "engine": plan.engine.type,
        "decoding": "greedy",
        "power": sees,
        "seed": run.seed,
    }
    found = {"schema": SCHEMA, "settings": settings, **results(findings, plan.gates, run.seed)}
    measures = [each for finding in findings for each in finding.measures]
    found["contamination"] = learned
    found["lengths"] = lengths(held.cases, gathered.said)
    found["examples"] = worst_answers(measures, evidence)
    write_scores(run, measures)
    publish(run, found)


def learned_before(run: Run, plan: Plan, dataset: Path, held: Sequence[Example]) -> dict[str, Any] | None:
    """What of the held-out rows training had; too much of it ends the run before a model is asked."""
    if plan.contamination is None or plan.split == "train":
        return None
    found = seen(plan.contamination, held, training_rows(dataset))
    if found.found:
        run.log.warning("training has seen %d of %d held-out rows, as %s", len(found.found), found.rows, next(iter(found.found)))
    refuse(plan.contamination, found)
    return found.told()


def weights_of(models: Sequence[ModelChoice], trained: Trained) -> tuple[dict[str, Weights], Weights]:
    """The models on disk by name, and the tuned one; a base is asked with the tuned model's tokens."""
    tuned = Weights(trained)
    found: dict[str, Weights] = {}
    for model in models:
        if isinstance(model, BaseModel):
            found[model.name] = Weights(trained, is_base=True)
        elif isinstance(model, Release):
            found[model.name] = Weights(Trained.of(model.path))
        elif not isinstance(model, Remote):
            found[model.name] = tuned
    return found, tuned


def ask(asking: Asking, plan: Plan, held: Held, on_disk: Mapping[str, Weights], tuned: Weights) -> Gathered:
    """Let each model answer and score the same rows."""
    needed = {metric.reads for metric in plan.metrics}
    gathered = Gathered()
    coded = dict(zip(on_disk, held.coded, strict=False))
    with Servers() as servers:  # ended before the weights are loaded here
        for name, weights in on_disk.items() if "answers" in needed else ():
            gathered.said[name] = asking.answers(name, weights, tuned, coded[name], servers)
    for name, weights in on_disk.items() if "likelihoods" in needed else ():
        gathered.liked[name] = asking.likelihoods(name, weights, tuned, coded[name])
    for model in plan.models:
        if isinstance(model, Remote) and "answers" in needed:
            gathered.said[model.name], failed = asking.remote(model, held.cases)
            gathered.failed |= failed
    gathered.said = {model.name: gathered.said[model.name] for model in plan.models if model.name in gathered.said}
    return gathered


def write_predictions(run: Run, held: Held, gathered: Gathered) -> None:
    """Write what each model said and how it scored the rows that count."""
    for name, said in gathered.said.items():
        write_jsonl(run.output / "predictions" / f"{name}.jsonl", rows((case.id, said[case.id]) for case in held.cases))
    for name, liked in gathered.liked.items():
        lines = ({"id": each, "nats": liked[each][0], "tokens": liked[each][1], "bytes": held.bytes_of[each]} for each in held.places)
        write_jsonl(run.output / "predictions" / f"{name}.likelihood.jsonl", lines)


def write_scores(run: Run, measures: Sequence[Measure]) -> None:
    """Write what each row counted for each figure, by model: what `mlx eval diff` compares."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for measure in measures:
        better = "lower" if measure.lower_is_better else "higher"
        for model, scored in measure.rows.items():
            lines.setdefault(model, []).extend(
                {"id": row.id, "metric": measure.name, "value": row.value, "weight": row.weight, "why": row.why, "better": better}
                for row in scored
            )
    for model, scores in lines.items():
        write_jsonl(run.output / "scores" / f"{model}.jsonl", scores)


def _likelihoods(held: Held, liked: Mapping[str, tuple[float, int]]) -> list[Row]:
    return [Row(each, *held.places[each], liked[each][0], liked[each][1]) for each in held.places if liked[each][1]]


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


def documents_of(run: Run) -> dict[str, str]:
    """The document of each record."""
    return {record.id: str(record.meta.get("source") or record.id) for record in _records(run)}


def _indented(found: Mapping[str, Any]) -> str:
    import json

    return json.dumps(json.loads(to_json(found)), indent=2, ensure_ascii=False) + "\n"


def _records(run: Run) -> Iterator[Record]:
    return run.records() if run.has("records") else iter(())
