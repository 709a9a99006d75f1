"""One evaluation from held-out rows to the report: models answer once, metrics read, gates judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from src.core.records import Example, Record
from src.core.run import Run
from src.eval.asking import Asking
from src.eval.besides import besides, only_elsewhere, scored
from src.eval.cases import Case, chosen, is_besides, read_examples, used
from src.eval.contamination import Contamination
from src.eval.engine import EngineChoice, Servers
from src.eval.gates import Gate
from src.eval.held import Held, hold, nothing_left
from src.eval.lengths import lengths
from src.eval.measure import Evidence, Finding, Row
from src.eval.models import BaseModel, ModelChoice, Release, Remote
from src.eval.outputs import publish, write_for_people, write_predictions, write_scores
from src.eval.predictions import opened
from src.eval.results import results
from src.eval.samples import worst_answers
from src.eval.seen import refuse, seen, training_rows
from src.eval.significance import told
from src.eval.suites import Suite
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
    suites: Sequence[Suite]
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
    info = dataset.manifest.info if dataset.manifest else {}
    extra = besides(run, plan.suites, str(info.get("system") or ""))
    held = hold(run, [*(each for each in examples if each["id"] in names), *extra.examples], coders, documents_of(run))
    learned = learned_before(run, plan, dataset.path, [each for each in examples if each["id"] in held.places])
    own = [case for case in held.cases if not is_besides(case)]
    sees = told(len(own), len({case.group for case in own}))
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
    write_predictions(run, held, gathered.said, gathered.liked)
    outside = used(examples)
    evidence = Evidence(
        cases=held.cases,
        accepted=extra.accepted,
        answers={name: {case.id: said[case.id].text for case in held.cases} for name, said in gathered.said.items()},
        likelihoods={name: _likelihoods(held, liked) for name, liked in gathered.liked.items()},
        bytes_of=held.bytes_of,
        records=(record for record in _records(run) if record.id not in outside),
        persona=info.get("persona"),
        seed=run.seed,
        cache=run.cache,
    )
    tried = scored(plan.suites, plan.metrics, evidence)
    own = [case for case in held.cases if not is_besides(case)]
    findings = [*(only_elsewhere(metric.score(replace(evidence, cases=own)), tried) for metric in plan.metrics), *tried]
    for drop in (each for finding in findings for each in finding.drops):
        run.ledger.drop(drop)
    found = {
        "schema": SCHEMA,
        "settings": settings(run, plan, trained, held, own, rows_in_split=len(examples), power=sees),
        **results(findings, plan.gates, run.seed),
    }
    measures = [each for finding in findings for each in finding.measures]
    found["contamination"] = learned
    found["lengths"] = lengths(own, gathered.said)
    found["examples"] = worst_answers(measures, evidence)
    write_scores(run, measures)
    write_for_people(run, plan.metrics, replace(evidence, cases=own))
    publish(run, found)


def settings(run: Run, plan: Plan, trained: Trained, held: Held, own: Sequence[Case], *, rows_in_split: int, power: str) -> dict[str, Any]:
    """How it was measured, for the report."""
    return {
        "base": trained.base,
        "quantization": trained.quantization,
        "split": plan.split,
        "rows": len({case.example for case in own}),
        "rows_in_split": rows_in_split,
        "turns": len(own),
        **asked_besides(plan.suites, held.cases),
        "limit": plan.limit,
        "max_new_tokens": plan.max_new_tokens,
        "batch_size": plan.batch_size,
        **engines(plan, trained),
        "decoding": "greedy",
        "power": power,
        "seed": run.seed,
    }


def engines(plan: Plan, trained: Trained) -> dict[str, Any]:
    """What generated the answers, of which model where that is not the same for all."""
    whole = "" if trained.quantization == "none" else f", on whole weights, though trained on {trained.quantization}"
    kinds = {"vllm": f"vllm{whole}"}
    own = {model.name: model.engine.type for model in plan.models if not isinstance(model, Remote) and model.engine}
    found: dict[str, Any] = {"engine": kinds.get(plan.engine.type, plan.engine.type)}
    return found | ({"engines": {name: kinds.get(kind, kind) for name, kind in own.items()}} if own else {})


def asked_besides(suites: Sequence[Suite], cases: Sequence[Case]) -> dict[str, Any]:
    """How many prompts of each suite were asked."""
    counts = {suite.name: sum(f"suite:{suite.name}" in case.tags for case in cases) for suite in suites}
    return {"suites": counts} if counts else {}


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
    engines = {model.name: model.engine for model in plan.models if not isinstance(model, Remote)}
    coded = dict(zip(on_disk, held.coded, strict=False))
    with Servers() as servers:  # ended before the weights are loaded here
        for name, weights in on_disk.items() if "answers" in needed else ():
            gathered.said[name] = asking.answers(name, weights, tuned, coded[name], servers, engines[name])
    for name, weights in on_disk.items() if "likelihoods" in needed else ():
        gathered.liked[name] = asking.likelihoods(name, weights, tuned, coded[name])
    for model in plan.models:
        if isinstance(model, Remote) and "answers" in needed:
            gathered.said[model.name], failed = asking.remote(model, held.cases)
            gathered.failed |= failed
    gathered.said = {model.name: gathered.said[model.name] for model in plan.models if model.name in gathered.said}
    return gathered


def _likelihoods(held: Held, liked: Mapping[str, tuple[float, int]]) -> list[Row]:
    return [Row(each, *held.places[each], liked[each][0], liked[each][1]) for each in held.bytes_of if liked[each][1]]


def documents_of(run: Run) -> dict[str, str]:
    """The document of each record."""
    return {record.id: str(record.meta.get("source") or record.id) for record in _records(run)}


def _records(run: Run) -> Iterator[Record]:
    return run.records() if run.has("records") else iter(())
