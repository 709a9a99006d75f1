"""One evaluation from held-out rows to the report: models answer once, metrics read, gates judge."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from src.core.errors import MlxError
from src.core.files import to_json, write_jsonl, write_text
from src.core.ledger import Drop
from src.core.records import Example, Record
from src.core.run import Run
from src.eval.cases import Case, cases, chosen, group, read_examples, used
from src.eval.gates import Gate
from src.eval.measure import BASE, TUNED, Evidence, Finding, Row
from src.eval.plots import plot_classes, plot_confusion, plot_figures
from src.eval.predictions import Journal, answers, likelihoods
from src.eval.report import markdown, summary_table
from src.eval.results import results
from src.eval.samples import worst_answers
from src.models.generate import Generator, context_of
from src.models.template import Encoded, UnfitError, encode, prompt_ids
from src.models.trained import Trained

if TYPE_CHECKING:
    from src.models.load import Loaded

SCHEMA = 1


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


@dataclass
class Held:
    """Held-out rows, as the model will see them."""

    cases: list[Case] = field(default_factory=list)
    prompts: dict[str, list[int]] = field(default_factory=dict)
    """By case."""
    encoded: dict[str, Encoded] = field(default_factory=dict)
    """By example."""
    bytes_of: dict[str, int] = field(default_factory=dict)
    places: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Group and tags, by example."""


def evaluate(
    run: Run, *, metrics: Sequence[Metric], gates: Sequence[Gate], split: str, limit: int | None, max_new_tokens: int, batch_size: int
) -> None:
    """Measure, and write predictions, `metrics.json`, plots and `report.md`."""
    dataset = run.input("dataset")
    trained = Trained.of(run.input("model").path)
    examples = read_examples(dataset.path, split)
    loaded = trained.load()
    held = hold(run, examples, loaded, chosen(examples, limit, run.seed))
    needed = {metric.reads for metric in metrics}
    said, liked = ask(run, trained, loaded, held, needed, max_new_tokens, batch_size)
    outside = used(examples)
    evidence = Evidence(
        cases=held.cases,
        answers=said,
        likelihoods=liked,
        bytes_of=held.bytes_of,
        records=(record for record in _records(run) if record.id not in outside),
        persona=dataset.manifest.info.get("persona") if dataset.manifest else None,
        seed=run.seed,
        cache=run.cache,
    )
    findings = [metric.score(evidence) for metric in metrics]
    for drop in (each for finding in findings for each in finding.drops):
        run.ledger.drop(drop)
    settings = {
        "base": trained.base,
        "quantization": trained.quantization,
        "split": split,
        "rows": len(held.places),
        "rows_in_split": len(examples),
        "turns": len(held.cases),
        "limit": limit,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
        "decoding": "greedy",
        "seed": run.seed,
    }
    found = {"schema": SCHEMA, "settings": settings, **results(findings, gates, run.seed)}
    found["examples"] = worst_answers([each for finding in findings for each in finding.measures], evidence)
    publish(run, found)


def hold(run: Run, examples: Iterable[Example], loaded: Any, names: set[str]) -> Held:
    """Encode the chosen examples; what the template or the model's context cannot take goes into the ledger."""
    documents = documents_of(run)
    context = context_of(loaded.model)
    held = Held()
    for example in examples:
        if example["id"] not in names:
            continue
        if drop := _hold_one(held, example, group(example, documents), loaded.tokenizer, context):
            run.ledger.drop(drop)
        else:
            run.ledger.keep()
    if not held.cases:
        reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items())
        raise MlxError(f"none of {run.ledger.read} rows can be measured: {reasons}", f"look at {run.ledger.path.name}, then build again")
    return held


def documents_of(run: Run) -> dict[str, str]:
    """The document of each record."""
    return {record.id: str(record.meta.get("source") or record.id) for record in _records(run)}


def _hold_one(held: Held, example: Example, place: str, tokenizer: Any, context: int) -> Drop | None:
    name, tools = example["id"], example.get("tools") or []
    if name in held.places:
        return Drop(name, "duplicate_id")
    turns = list(cases(example, place))
    try:
        encoded = encode(tokenizer, example["messages"], tools)
        prompts = {turn.id: prompt_ids(tokenizer, turn.history, tools) for turn in turns}
    except UnfitError as error:
        return Drop(name, error.fault.reason, error.fault.detail)
    if not turns or not any(encoded.mask):
        return Drop(name, "no_assistant_turn")
    if len(encoded.ids) > context:
        return Drop(name, "too_long", f"{len(encoded.ids)} tokens, and the model's context is {context}")
    spoken = [token for token, counts in zip(encoded.ids, encoded.mask, strict=True) if counts]
    held.cases += turns
    held.prompts |= prompts
    held.encoded[name] = encoded
    held.bytes_of[name] = len(tokenizer.decode(spoken, skip_special_tokens=True).encode())
    held.places[name] = (place, tuple(example.get("tags") or ()))
    return None


def ask(
    run: Run, trained: Trained, loaded: "Loaded", held: Held, needed: set[str], max_new_tokens: int, batch_size: int
) -> tuple[dict[str, dict[str, str]], dict[str, list[Row]]]:
    """Let each model answer and score the same rows; an export, which is a model without a base, alone."""
    said: dict[str, dict[str, str]] = {}
    liked: dict[str, list[Row]] = {}
    for name in (BASE, TUNED) if trained.weights != "." else (TUNED,):

        def track(batches: Iterable[list[str]], name: str = name) -> Iterable[list[str]]:
            todo = list(batches)
            return run.progress(todo, total=len(todo), unit="batch", desc=f"eval {name}")

        with _standing(name, trained, loaded) as model:
            if "likelihoods" in needed:
                journal = Journal(run.work / f"{name}.likelihood.jsonl")
                rows = likelihoods(journal, model, held.encoded, held.bytes_of, batch_size=batch_size, track=track)
                write_jsonl(run.output / "predictions" / f"{name}.likelihood.jsonl", rows)
                liked[name] = [Row(row["id"], *held.places[row["id"]], row["nats"], row["tokens"]) for row in rows if row["tokens"]]
            if "answers" in needed:
                journal, generator = Journal(run.work / f"{name}.jsonl"), Generator(model, loaded.tokenizer)
                rows = answers(journal, generator, held.prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, track=track)
                write_jsonl(run.output / "predictions" / f"{name}.jsonl", rows)
                said[name] = {row["id"]: row["text"] for row in rows}
    return said, liked


@contextmanager
def _standing(name: str, trained: Trained, loaded: "Loaded") -> Iterator[Any]:
    """The model of that name: the base is the tuned one without its adapter, or where all weights were trained loaded beside it."""
    if name == TUNED:
        yield loaded.model
    elif trained.adapter:
        with loaded.model.disable_adapter():
            yield loaded.model
    else:
        yield trained.load_base().model


def publish(run: Run, found: Mapping[str, Any]) -> None:
    """Write the figures, the plots and the report, and note the verdict for the command line."""
    plots = [*plot_figures(run.output, found), *plot_confusion(run.output, found), *plot_classes(run.output, found)]
    write_text(run.output / "metrics.json", _indented(found))
    write_text(run.output / "report.md", markdown(found, run.name, plots))
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
    import json

    return json.dumps(json.loads(to_json(found)), indent=2, ensure_ascii=False) + "\n"


def _records(run: Run) -> Iterator[Record]:
    return run.records() if run.has("records") else iter(())
