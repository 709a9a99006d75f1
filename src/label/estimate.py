"""What labelling will take before anything is paid: calls, tokens, money and time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from src.core.project import Project
from src.core.records import Record
from src.label.ask import CACHE, standing_of
from src.llm.asking.answers import Answers
from src.llm.asking.budget import Price
from src.llm.asking.meter import Meter
from src.llm.asking.standing import Ask, Standing
from src.llm.client import Usage

if TYPE_CHECKING:
    from src.label import LabelConfig


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked. Faulty answers that are asked for anew come on top."""

    rows: int
    """Rows to ask about."""
    calls: int
    prompt: int
    """Tokens asked, as far as one can tell from their bytes."""
    completion: int
    """Tokens answered at most."""
    cost: float | None
    """What that costs at most; None without a price."""

    def __str__(self) -> str:
        money = "" if self.cost is None else f", {self.cost:.4f} at most"
        return f"{self.rows:,} rows in {self.calls:,} calls, about {self.prompt:,} tokens in and up to {self.completion:,} out{money}"


def estimated(standing: Standing, texts: Iterable[str], price: Price | None) -> Estimate:
    """Look at what each row waits for. Of votes the fewest are counted that can decide."""
    draws = standing.votes // 2 + 1
    meter = Meter()
    seen: set[bytes] = set()
    waiting: list[str] = []
    rows = calls = prompt = completion = 0

    def add(usage: Usage) -> None:
        nonlocal calls, prompt, completion
        calls, prompt, completion = calls + draws, prompt + usage.prompt * draws, completion + usage.completion * draws

    for text in texts:
        mark = blake2b(standing.questions.shown(text).encode(), digest_size=16).digest()
        if mark in seen or not isinstance(ask := standing.of(text), Ask):
            seen.add(mark)
            continue
        seen.add(mark)
        rows += 1
        if ask.question:
            add(meter.most(ask.question))
            continue
        waiting.append(text)
        if len(waiting) == standing.batch:
            add(meter.most(standing.questions.together(waiting)))
            waiting = []
    if waiting:
        add(meter.most(standing.questions.together(waiting)))
    return Estimate(rows, calls, prompt, completion, price.of(Usage(prompt, completion)) if price else None)


def minutes(estimate: Estimate, requests: float | None, tokens: float | None) -> int:
    """How long the declared rates make it take."""
    by_calls = estimate.calls / requests if requests else 0.0
    by_tokens = (estimate.prompt + estimate.completion) / tokens if tokens else 0.0
    return math.ceil(max(by_calls, by_tokens))


def estimate(project: Project) -> Estimate:
    """Estimate the label stage of a project; asks nobody, and needs no key."""
    from src.core.tables import read_records
    from src.label import label

    config: Any = project.section("label")
    inputs = label.inputs(project)["records"]
    with Answers(project.head.model_cache / CACHE) as answers:
        standing = standing_of(config, answers, seed=project.head.seed)
        records = (record for each in inputs for record in read_records(each.path))
        return estimated(standing, texts_of(config, standing, records), config.price)


def texts_of(config: "LabelConfig", standing: Standing, records: Iterable[Record]) -> Iterable[str]:
    """Texts that the records of a section are asked about."""
    from src.label.labels import Labels
    from src.label.people import read_corrections
    from src.label.synthesis import passages

    if config.synthesis:
        longest = config.synthesis.passage
        return (passage.text for record in records for passage in passages(record, longest))
    corrections = read_corrections(config.corrections, standing.questions.task) if config.corrections else {}
    labels = Labels(config.classes or (), config.backend.name, standing, relabel=config.relabel, corrections=corrections)
    return labels.unlabelled(records)
