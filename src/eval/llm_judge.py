"""What a language model thinks of the answers, once people have been found to think alike."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.core.ledger import Drop
from src.core.seeds import derive
from src.eval.answers import in_words, words_of
from src.eval.cases import Case
from src.eval.kappa import kappa, kappa_interval
from src.eval.measure import BASE, TUNED, Evidence, Finding, Measure, Row
from src.eval.rubric import PAIR, Rubric, one_answer, two_answers
from src.eval.second_opinion import NoJudgeError, opinions
from src.eval.to_score import FILE
from src.llm.asking.standing import Outcome
from src.llm.backend import Backend

FEWEST = 20
"""Answers scored by people from which their agreement with the judge can be told."""


class LlmJudge(Config):
    """Scores from 1 to 5 by rubrics, and the share of rows on which the tuned model's answer is preferred to the base's.

    `judge.NAME` is the mean score, `judge.NAME.wins` the share won, ties half: each pair is shown in both orders, and where the verdicts
    contradict each other it is a tie (Zheng et al. 2023, "Judging LLM-as-a-Judge"). The judge may gate only where it agrees with
    people's scores: Cohen's kappa with quadratic weights (1968) on `people`. Answers that got no verdict go into the ledger.
    """

    type: Literal["judge"] = "judge"
    backend: Backend
    """The model that judges: `type: openai`, `ollama`, `bedrock` or `scripted`."""
    rubrics: dict[str, Rubric] = Field(min_length=1)
    """What is judged, by name."""
    compare: bool = True
    """Compare base and tuned in pairs too."""
    people: InputPath | None = None
    """CSV or JSON lines with `question`, `answer` and a column for each rubric, with people's scores; without it no gate is decided, and
    `to_score.csv` beside the report has answers to score."""
    min_kappa: float = Field(0.4, ge=-1, le=1)
    """Least agreement with people for a rubric's figures to gate; 0.4 is where Landis & Koch (1977) begin to call it moderate."""
    rows: int | None = Field(100, ge=1)
    """Most answers judged of each model; null for all."""
    votes: int = Field(1, ge=1, le=9)
    """Verdicts on an answer, of which the most frequent counts."""
    temperature: float | None = Field(0, ge=0)
    """0 for the likeliest verdict; null for models that let none be set."""
    max_tokens: int = Field(512, ge=16)
    """Longest verdict; a model that thinks aloud before it answers needs more."""
    concurrency: int = Field(8, ge=1, le=256)
    """Calls at a time."""
    tags: tuple[str, ...] = ()
    """Judge only rows with one of these tags; all plain answers where empty."""

    reads: ClassVar[str] = "answers"

    @property
    def names(self) -> tuple[str, ...]:
        """Its figures."""
        return tuple(f"judge.{name}{end}" for name in self.rubrics for end in ("", ".wins")[: 1 + self.compare])

    @model_validator(mode="after")
    def votes_differ(self) -> Self:
        """Fail on votes that would all be the same."""
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("`votes` are all the same at temperature 0: set `temperature`, such as 0.7")
        return self

    def files(self) -> Iterable[Path]:
        """What is read besides the rows."""
        return [self.people] if self.people else []

    def score(self, evidence: Evidence) -> Finding:
        """Let each rubric be judged, first on what people scored."""
        asked = in_words(evidence, self.tags)
        asked = sorted(asked, key=lambda case: derive(evidence.seed, "judge", case.id))[: self.rows]
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is an answer in words"))
        finding = Finding(detail={"judge": {}})
        for name, rubric in self.rubrics.items():
            try:
                self._judge(finding, name, rubric, asked, evidence)
            except NoJudgeError as error:
                return Finding(missing=dict.fromkeys(self.names, str(error)))
        return finding

    def _judge(self, finding: Finding, name: str, rubric: Rubric, asked: Sequence[Case], evidence: Evidence) -> None:
        texts = {
            (model, case.id): one_answer(case.request, words_of(said[case.id]))
            for model, said in evidence.answers.items()
            for case in asked
        }
        people = self._people(name)
        found, figures = self._ask([*people, *texts.values()], rubric, evidence)
        agreement, doubt = self._agreement(people, found, derive(evidence.seed, name))
        rows = _scores(finding, f"judge.{name}", asked, texts, found)
        detail = {"model": self.backend.name, **figures, "agreement": agreement, "doubt": doubt}
        _add(finding, Measure(f"judge.{name}", rows, doubt=doubt))
        if self.compare and {BASE, TUNED} <= evidence.answers.keys():
            wins, consistent, more = self._wins(finding, f"judge.{name}.wins", rubric, asked, evidence)
            _add(finding, Measure(f"judge.{name}.wins", {TUNED: wins}, doubt=doubt))
            detail |= {"swap_consistency": consistent, "comparing": more}
        elif self.compare:
            finding.missing[f"judge.{name}.wins"] = "there is no base model to compare with"
        finding.detail["judge"][name] = detail

    def _ask(
        self, texts: Sequence[str], rubric: Rubric, evidence: Evidence, *, pairs: bool = False
    ) -> tuple[Mapping[str, Outcome], dict[str, Any]]:
        return opinions(
            texts,
            rubric.comparing() if pairs else rubric.scoring(),
            backend=self.backend,
            cache=evidence.cache,
            concurrency=self.concurrency,
            votes=self.votes,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _wins(
        self, finding: Finding, name: str, rubric: Rubric, asked: Sequence[Case], evidence: Evidence
    ) -> tuple[list[Row], float | None, dict[str, Any]]:
        """Show both orders; return the rows, the share of pairs whose verdicts agree, and the calls it took."""
        said = {case.id: [words_of(evidence.answers[model][case.id]) for model in (BASE, TUNED)] for case in asked}
        pairs = {case.id: (two_answers(case.request, *said[case.id]), two_answers(case.request, *said[case.id][::-1])) for case in asked}
        found, figures = self._ask([text for pair in pairs.values() for text in pair], rubric, evidence, pairs=True)
        rows, same = [], 0
        for case in asked:
            there, back = (found[text] for text in pairs[case.id])
            if there.value is None or back.value is None:
                finding.drops.append(_unjudged(case, name, TUNED, back if back.value is None else there))
                continue
            gains = PAIR[there.value["better"]], -PAIR[back.value["better"]]
            same += gains[0] == gains[1]
            won = 0.5 + gains[0] / 2 if gains[0] == gains[1] else 0.5
            why = (
                ""
                if won == 1
                else f"the base's is preferred: {there.value['reason']}"
                if won == 0
                else "a tie"
                if gains[0] == gains[1]
                else "a tie: it depends on the order"
            )
            rows.append(Row(case.id, case.group, case.tags, won, 1.0, why))
        return rows, same / len(rows) if rows else None, figures

    def _people(self, name: str) -> dict[str, int]:
        """Scores that people gave, by what the judge is asked."""
        if self.people is None:
            return {}
        from src.text.csv_rows import read_csv
        from src.text.jsonl import Fault, read_lines
        from src.text.spreadsheet import as_it_was

        rows = (
            read_lines(self.people)
            if self.people.suffix in (".jsonl", ".ndjson", ".json")
            else read_csv(self.people, wanted=("question", "answer", name))
        )
        found = {}
        for line in rows:
            row: Mapping[str, Any] = {} if isinstance(line, Fault) else line[1]
            if not isinstance(line, Fault) and row.get(name) in (None, ""):
                continue
            row = {key: as_it_was(value) if isinstance(value, str) else value for key, value in row.items()}
            score = str(row.get(name)).strip()
            if score not in {"1", "2", "3", "4", "5"} or not row.get("answer"):
                place = line.line if isinstance(line, Fault) else line[0]
                raise MlxError(
                    f"{self.people}:{place}: {name} is no score from 1 to 5 of an answer",
                    "mend the line; it has question, answer and a column for each rubric",
                )
            found[one_answer(str(row.get("question") or ""), str(row["answer"]))] = int(score)
        return found

    def _agreement(self, people: Mapping[str, int], found: Mapping[str, Outcome], seed: int) -> tuple[dict[str, Any] | None, str]:
        """Agreement with people, and why the judge is not to be relied on, or nothing."""
        if not people:
            return None, f"nobody has compared the judge with people: score the answers in {FILE}, and set `people` to it"
        both = [(right, int(found[text].value["score"])) for text, right in people.items() if found[text].value is not None]
        if len(both) < FEWEST:
            return {"rows": len(both)}, f"people scored only {len(both)} answers that the judge scored too, and {FEWEST} are needed"
        right, said = [a for a, _ in both], [b for _, b in both]
        value, (low, high) = kappa(right, said), kappa_interval(right, said, seed=seed)
        told = {"rows": len(both), "kappa": round(value, 4), "kappa_interval": [round(low, 4), round(high, 4)]}
        return told, "" if value >= self.min_kappa else f"its kappa with people is {value:.2f}, and {self.min_kappa:g} is needed"


def _scores(
    finding: Finding, name: str, asked: Sequence[Case], texts: Mapping[tuple[str, str], str], found: Mapping[str, Outcome]
) -> dict[str, list[Row]]:
    """Rows of each model, of the cases on which all of them got a score."""
    rows: dict[str, list[Row]] = {model: [] for model, _ in texts}
    for case in asked:
        outcomes = {model: found[texts[model, case.id]] for model in rows}
        lost = [_unjudged(case, name, model, outcome) for model, outcome in outcomes.items() if outcome.value is None]
        finding.drops.extend(lost)
        for model, outcome in outcomes.items() if not lost else ():
            score = float(outcome.value["score"])
            why = f"{score:g}: {outcome.value['reason']}" if score < 5 else ""
            rows[model].append(Row(case.id, case.group, case.tags, score, 1.0, why))
    return rows


def _unjudged(case: Case, name: str, model: str, outcome: Outcome) -> Drop:
    return Drop(f"{case.id} {name} {model}", f"judge_{outcome.reason}", outcome.detail)


def _add(finding: Finding, measure: Measure) -> None:
    """Add a figure that every model has a row for."""
    if all(measure.rows.values()):
        finding.measures.append(measure)
    else:
        finding.missing[measure.name] = "the judge gave no usable verdict"
