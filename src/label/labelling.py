"""One run of the stage: estimate, gold first, then all rows, then what came of each."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record
from src.core.run import Run
from src.core.seeds import derive
from src.label.ask import CACHE, standing_of
from src.label.estimate import estimated, minutes, texts_of
from src.label.gold import Gold, Known
from src.label.labels import Labels, outcome_of
from src.label.people import UNSURE, read_corrections, write_unsure
from src.label.synthesis import EXAMPLES, Backtranslation, Dialogues, passages
from src.llm.asking.answers import Answers
from src.llm.asking.budget import Purse
from src.llm.asking.calls import Calls
from src.llm.asking.standing import Standing
from src.llm.limits import Limits

if TYPE_CHECKING:
    from src.label import LabelConfig


class Labelling:
    """Does the stage's work, step by step."""

    def __init__(self, config: "LabelConfig", run: Run) -> None:
        self.config = config
        self.run = run
        self.job = run.work.name
        """The work that money is spent on: the same after a kill, and with another budget or rate."""

    def do(self) -> None:
        """Label all rows, or make examples of them."""
        with Answers(self.run.cache / CACHE) as answers:
            standing = standing_of(self.config, answers, seed=self.run.seed)
            calls = self._calls(standing, answers)
            self._announce(standing, calls)
            known = self._known(standing)
            if self.config.gold:
                calls.put(each.text for each in known)
                self._measure(self.config.gold, known, standing)
            calls.put(texts_of(self.config, standing, self.run.progress(self.run.records(), total=self.run.count())))
            figures = self._synthesise(standing) if self.config.synthesis else self._label(standing)
            answers.settle(self.job)
        self.run.info |= {"model": self.config.backend.name, **calls.figures(), **figures}

    def _calls(self, standing: Standing, answers: Answers) -> Calls:
        config = self.config
        requests, tokens = config.requests_per_minute, config.tokens_per_minute
        return Calls(
            config.backend.open,
            standing,
            job=self.job,
            purse=Purse(config.budget, config.price, spent=answers.paid(self.job)[2]),
            make_limits=lambda: Limits(requests_per_minute=requests, tokens_per_minute=tokens),
            concurrency=config.concurrency or (64 if requests or tokens else 4),
            max_retries=getattr(config.backend, "max_retries", 0),
        )

    def _announce(self, standing: Standing, calls: Calls) -> None:
        """Say what it will take, before the first call."""
        config = self.config
        found = estimated(standing, texts_of(config, standing, self.run.records()), config.price)
        if not found.calls:
            return
        long = minutes(found, config.requests_per_minute, config.tokens_per_minute)
        time = f", {long} min at the declared rates" if long else ""
        spent = f"; {calls.purse.spent:.4f} spent so far" if calls.purse.spent else ""
        self.run.log.info("to ask: %s%s%s", found, time, spent)
        self.run.info["estimate"] = {"rows": found.rows, "calls": found.calls, "cost": found.cost}
        if config.budget is not None and found.cost is not None and calls.purse.spent + found.cost > config.budget:
            self.run.log.warning("the budget of %g may not do: the run then stops, and goes on once it is raised", config.budget)

    def _known(self, standing: Standing) -> list[Known]:
        """Gold rows, without those that are shown to the model with their answers."""
        if self.config.gold is None:
            return []
        names = self.config.classes or (self.config.json_schema or {})["properties"]["label"].get("enum", ())
        shown = {text for text, _ in standing.questions.task.shots}
        found = self.config.gold.known(self.run.records(), map(str, names), seed=self.run.seed)
        return [each for each in found if each.text not in shown]

    def _measure(self, gold: Gold, known: list[Known], standing: Standing) -> None:
        """Compare with the right labels, and stop where they are too unlike."""
        from src.label.agreement import agreement

        said = [str(_label_of(outcome_of(standing, each.text).value)) for each in known]
        found = agreement([each.label for each in known], said, seed=derive(self.run.seed, "gold"))
        self.run.info["gold"] = found
        low, high = found["accuracy_interval"]
        self.run.log.info(
            "gold: accuracy %.3f (%.3f–%.3f), kappa %.3f, %d rows", found["accuracy"], low, high, found["kappa"], found["rows"]
        )
        for name, least in (("accuracy", gold.min_accuracy), ("kappa", gold.min_kappa)):
            if least is not None and found[name] < least:
                wrong = {pair: count for pair, count in found["confusion"].items() if len(set(pair.split(" → "))) > 1}
                worst = ", ".join(f"{pair} {count}" for pair, count in sorted(wrong.items(), key=lambda each: -each[1])[:4])
                raise MlxError(
                    f"label.gold: {name} {found[name]:.3f} is below min_{name} {least:g} over {found['rows']} rows: {worst}",
                    "mend label.instructions or examples, or take another model; answers so far are kept",
                )

    def _label(self, standing: Standing) -> dict[str, Any]:
        config = self.config
        corrections = read_corrections(config.corrections, standing.questions.task) if config.corrections else {}
        labels = Labels(config.classes or (), config.backend.name, standing, relabel=config.relabel, corrections=corrections)
        self.run.write_records(self.run.kept(labels.judge(self.run.records())))
        if labels.unsure:
            with self.run.write(UNSURE) as stream:
                write_unsure(stream, labels.unsure)
            self.run.log.info("%d unsure rows: move %s elsewhere, fill it in, and set label.corrections to it", len(labels.unsure), UNSURE)
        if unknown := len(corrections) - labels.noted["corrected"]:
            self.run.log.warning("%s: %d ids are of no row", config.corrections, unknown)
        return {**labels.figures(), "unsure": len(labels.unsure)} | ({"corrections_of_no_row": unknown} if unknown else {})

    def _synthesise(self, standing: Standing) -> dict[str, Any]:
        """Write passages as rows, each kept with its example or dropped with the reason."""
        part = self.config.synthesis
        assert part  # noqa: S101 (who calls has looked)
        counts: Counter[str] = Counter(passages=0, examples=0)
        with self.run.write(EXAMPLES) as stream:

            def made(records: Iterable[Record]) -> Iterator[Record | Drop]:
                for passage in (each for record in records for each in passages(record, part.passage)):
                    counts["passages"] += 1
                    found = _example(part, passage, standing, seed=self.run.seed)
                    if isinstance(found, Drop):
                        yield found
                        continue
                    counts["examples"] += 1
                    stream.write(to_json(found) + "\n")
                    yield Record(passage.id, passage.text, {**passage.meta, "example": found["id"], "labelled_by": standing.model})

            self.run.write_records(self.run.kept(made(self.run.records())))
        return {"synthesis": {"type": part.type, **counts}}


def _example(part: Backtranslation | Dialogues, passage: Record, standing: Standing, *, seed: int) -> Any:
    outcome = outcome_of(standing, passage.text)
    if outcome.value is None:
        return Drop(passage.id, outcome.reason, outcome.detail, passage.as_row())
    found = part.example(passage, outcome.value, seed=seed)
    return Drop(passage.id, *found, passage.as_row()) if isinstance(found, tuple) else found


def _label_of(value: Any) -> Any:
    """The label of an answer, or nothing."""
    return (value.get("label") if isinstance(value, dict) else value) or ""
