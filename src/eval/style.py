"""Whether answers sound like the persona, as told by a classifier of the project's own texts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from src.core.config import Config
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding, Measure, Row
from src.models.tool_calls import parse

if TYPE_CHECKING:
    from src.eval.judge import Judge

NAME, DELTA = "style.persona", "style.delta"


class Style(Config):
    """Share of answers in the persona's voice; the judge is tested on documents it has not seen before it may judge.

    `style.persona` is told by a logistic regression over TF-IDF of character 2-5-grams and word 1-2-grams, its probabilities
    calibrated on unseen documents (Platt 1999). `style.delta` is a second opinion that no topic sways: the share of answers whose
    common words are nearer to the persona's than to the others' (Burrows 2002).
    """

    type: Literal["style"] = "style"
    samples: int = Field(800, ge=20)
    """Most pieces of text of each class that the judge learns from, drawn evenly from the documents."""
    words: int = Field(60, ge=5)
    """Length of a piece, in words: about that of an answer."""
    fewest_words: int = Field(4, ge=1)
    """Answers and pieces shorter than this are not judged."""
    min_accuracy: float = Field(0.7, ge=0.5, le=1)
    """Least balanced accuracy on unseen documents; a judge below it does not judge."""
    false_alarms: float = Field(0.05, gt=0, lt=0.5)
    """Share of unseen pieces in other voices that the judge may take for the persona's; sets its bar."""
    tags: tuple[str, ...] = ()
    """Judge only rows with one of these tags; all rows where empty."""

    names: ClassVar[tuple[str, ...]] = (NAME, DELTA)
    reads: ClassVar[str] = "answers"

    def score(self, evidence: Evidence) -> Finding:
        """Train the judges, test them, then let them judge every model's plain answers and the reference's."""
        from src.eval.judge import train
        from src.eval.pieces import UnfitJudgeError

        if not evidence.persona:
            return Finding(missing=dict.fromkeys(self.names, "the dataset was built without a persona"))
        asked = [case for case in evidence.cases if self.is_judged(case)]
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is a plain answer of enough words"))
        try:
            judge = train(
                evidence.records,
                dict(evidence.persona),
                seed=evidence.seed,
                samples=self.samples,
                words=self.words,
                fewest_words=self.fewest_words,
                min_accuracy=self.min_accuracy,
                false_alarms=self.false_alarms,
            )
        except UnfitJudgeError as error:
            return Finding(missing=dict.fromkeys(self.names, str(error)), detail={"style": error.detail} if error.detail else {})
        rows = {model: self._rows(judge, asked, texts) for model, texts in evidence.answers.items()}
        nearer = {model: _nearer(judge, asked, texts) for model, texts in evidence.answers.items()}
        said = [str(case.expected.get("content") or "") for case in asked]
        share = sum(each > judge.bar for each in judge.shares(said)) / len(said)
        delta = {**judge.report["delta"], "reference": sum(each > 0 for each in judge.nearer(said)) / len(said)}
        measures = [Measure(NAME, rows), Measure(DELTA, nearer, doubt=self._doubt(delta))]
        return Finding(measures, detail={"style": {**judge.report, "delta": delta, "reference": share}})

    def _doubt(self, delta: Mapping[str, float]) -> str:
        right = delta["balanced_accuracy"]
        return (
            f"on unseen pieces its balanced accuracy is {right:.2f}, and {self.min_accuracy:g} is needed"
            if right < self.min_accuracy
            else ""
        )

    def is_judged(self, case: Case) -> bool:
        """Whether the reference is an answer in words, of rows asked for."""
        wanted = not self.tags or bool(set(self.tags) & set(case.tags))
        return wanted and not case.calls and len(str(case.expected.get("content") or "").split()) >= self.fewest_words

    def _rows(self, judge: "Judge", asked: list[Case], texts: Mapping[str, str]) -> list[Row]:
        found = [parse(texts[case.id]).content or "" for case in asked]
        rows = []
        for case, text, share in zip(asked, found, judge.shares(found), strict=True):
            short = len(text.split()) < self.fewest_words
            wrong = (
                f"only {len(text.split())} words"
                if short
                else f"the judge gives it {share:.2f}, its bar is {judge.bar:.2f}"
                if share <= judge.bar
                else ""
            )
            rows.append(Row(case.id, case.group, case.tags, float(not wrong), 1.0, wrong))
        return rows


def _nearer(judge: "Judge", asked: list[Case], texts: Mapping[str, str]) -> list[Row]:
    found = judge.nearer([parse(texts[case.id]).content or "" for case in asked])
    return [
        Row(case.id, case.group, case.tags, float(gap > 0), 1.0, "" if gap > 0 else f"by {-gap:.2f} nearer to the others")
        for case, gap in zip(asked, found, strict=True)
    ]
