"""One evaluation of a classifier, from held-out rows to the report: it is asked once, metrics read, gates judge."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from src.core.errors import MlxError
from src.core.files import digest, to_json, write_jsonl
from src.core.ledger import Drop
from src.core.records import Example
from src.core.run import Run
from src.eval.cases import chosen, group, read_examples
from src.eval.classification import guess
from src.eval.evaluate import SCHEMA, Metric, documents_of
from src.eval.gates import Gate
from src.eval.measure import BASE, TUNED, Classified, Evidence
from src.eval.outputs import publish, write_scores
from src.eval.predictions import Predictions, by_batches, opened
from src.eval.results import results
from src.eval.weights import VERSION
from src.llm.client import Reply
from src.models.class_tokens import class_text
from src.models.classifier import Classifier, LoadedClassifier
from src.models.conversation import Fault

SHOWN = 9  # wrong answers in the report


def evaluate_classifier(
    run: Run, *, metrics: Sequence[Metric], gates: Sequence[Gate], split: str, limit: int | None, batch_size: int
) -> None:
    """Measure against naming each class as often as training had it; write predictions, `metrics.json`, plots and `report.md`."""
    trained = Classifier.of(run.input("model").path)
    examples = read_examples(run.input("dataset").path, split)
    loaded = trained.open()
    names = chosen(examples, limit, run.seed)
    held = _held(run, [each for each in examples if each["id"] in names], loaded)
    shares = _asked(run, loaded, {name: ids for name, (_, ids) in held.items()}, batch_size)
    rows = _classified(run, trained, [example for example, _ in held.values()], shares)
    evidence = Evidence([], {}, {}, {}, (), None, run.seed, classified=rows, labels=trained.labels)
    findings = [metric.score(evidence) for metric in metrics if metric.reads == "classes"]
    settings = {
        "base": "each class as often as in training, so the commonest is named",
        "model": trained.base,
        "quantization": trained.quantization,
        "split": split,
        "rows": len(rows),
        "rows_in_split": len(examples),
        "limit": limit,
        "batch_size": batch_size,
        "max_tokens": trained.max_tokens,
        "seed": run.seed,
    }
    found = {"schema": SCHEMA, "settings": settings, **results(findings, gates, run.seed)}
    found["missing"] |= {metric.type: "the model is a classifier" for metric in metrics if metric.reads != "classes"}
    found["examples"] = _wrong(rows, trained.labels)
    write_scores(run, [each for finding in findings for each in finding.measures])
    publish(run, found)


def _held(run: Run, examples: Iterable[Example], loaded: LoadedClassifier) -> dict[str, tuple[Example, list[int]]]:
    """The rows with their tokens; what has no class of the model's, or no tokens that fit, goes into the ledger."""
    held: dict[str, tuple[Example, list[int]]] = {}
    for example in examples:
        name, label = example["id"], example.get("label")
        ids = loaded.encode(class_text(example))
        if name in held:
            run.ledger.drop(Drop(name, "duplicate_id"))
        elif label not in loaded.labels:
            run.ledger.drop(Drop(name, "no_label" if label is None else "unknown_label", f"{label!r}"))
        elif isinstance(ids, Fault):
            run.ledger.drop(Drop(name, ids.reason, ids.detail))
        else:
            run.ledger.keep()
            held[name] = (example, ids)
    if not held:
        reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items())
        raise MlxError(f"none of {run.ledger.read} rows can be measured: {reasons}", f"look at {run.ledger.path.name}, then build again")
    return held


def _asked(run: Run, loaded: LoadedClassifier, rows: dict[str, list[int]], batch_size: int) -> dict[str, tuple[float, ...]]:
    """The probabilities of each row, batch by batch, so that a kill costs one."""

    def track(batches: Iterable[list[str]]) -> Iterable[list[str]]:
        todo = list(batches)
        return run.progress(todo, total=len(todo), unit="batch", desc="eval")

    def make(names: list[str]) -> list[Reply]:
        found = loaded.probabilities([rows[name] for name in names], batch_size=batch_size)
        return [Reply(to_json(shares.tolist())) for shares in found]

    made = run.input("model").fingerprint
    with opened(run.cache) as kept:
        found = Predictions(kept, digest([VERSION, made, "classes"]), rows, fresh=run.fresh)
        by_batches(found, {name: len(ids) for name, ids in rows.items()}, make, size=batch_size, track=track)
        return {name: tuple(json.loads(reply.text)) for name, reply in found.all().items()}


def _classified(run: Run, trained: Classifier, examples: Sequence[Example], shares: dict[str, tuple[float, ...]]) -> list[Classified]:
    documents = documents_of(run)
    rows = [
        Classified(
            example["id"],
            group(example, documents),
            tuple(example.get("tags") or ()),
            class_text(example),
            trained.labels.index(str(example["label"])),
            {BASE: trained.priors, TUNED: shares[example["id"]]},
        )
        for example in examples
    ]
    lines = [
        {
            "id": row.id,
            "label": trained.labels[row.true],
            "predicted": trained.labels[guess(row, TUNED)],
            "probabilities": dict(zip(trained.labels, row.probabilities[TUNED], strict=True)),
        }
        for row in rows
    ]
    write_jsonl(run.output / "predictions" / f"{TUNED}.jsonl", lines)
    return rows


def _wrong(rows: Sequence[Classified], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that it was surest of and wrong about: a model's faults, and a dataset's."""
    wrong = [row for row in rows if guess(row, TUNED) != row.true]
    wrong.sort(key=lambda row: (-max(row.probabilities[TUNED]), row.id))
    return [
        {
            "metric": "classification.accuracy",
            "id": row.id,
            "prompt": row.text[:600],
            "expected": labels[row.true],
            "got": labels[guess(row, TUNED)],
            "why": f"with probability {max(row.probabilities[TUNED]):.2f}",
        }
        for row in wrong[:SHOWN]
    ]
