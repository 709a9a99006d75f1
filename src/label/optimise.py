"""Let dspy find the examples, among the gold rows, that make the model agree best with the rest of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.project import Project
from src.core.seeds import derive
from src.label.ask import CACHE, questions_of, task_of
from src.label.gold import Known
from src.label.labels import outcome_of
from src.llm.asking.answers import Answers
from src.llm.asking.standing import Ask, Standing

if TYPE_CHECKING:
    from src.label import LabelConfig

PROMPT = "prompt.yaml"
_FEWEST = 8


def optimise(project: Project, output: Path = Path(PROMPT), *, examples: int = 8) -> dict[str, Any]:
    """Write instructions and examples that `label.prompt` can name, and return how well they do.

    dspy's BootstrapFewShot picks the examples on one half of the gold sample, among rows that the model gets right by itself; the other
    half, which it never sees, tells whether they help. Every answer comes from the same cache as those of the stage.

    Args:
        project: A project whose label section has `classes` and `gold`.
        output: Where the YAML goes.
        examples: How many there may be.

    Returns:
        `before` and `after`: accuracy on the half held out; `rows` in it; `examples` chosen.

    Raises:
        MlxError: Where dspy is not installed, there is no gold, or too little of it.
    """
    try:
        import dspy
    except ModuleNotFoundError:
        raise MlxError("prompt optimisation needs dspy", "uv sync --extra dspy") from None
    config: Any = project.section("label")
    known = _known(project, config)
    half = len(known) // 2
    learned, held = known[:half], known[half:]
    with Answers(project.head.model_cache / CACHE) as answers:
        asker = _Asker(config, answers, project.head.seed)

        class Judge(dspy.Module):  # type: ignore[misc]
            """One prediction, made by the stage's own machinery with the examples that dspy has chosen so far."""

            def __init__(self) -> None:
                super().__init__()
                self.predict = _Predictor("text -> label")

        class _Predictor(dspy.Predict):  # type: ignore[misc]
            def forward(self, **given: Any) -> Any:
                found = dspy.Prediction(label=asker.label(given["text"], self.demos))
                if (trace := dspy.settings.trace) is not None:
                    trace.append((self, {"text": given["text"]}, found))
                return found

        Judge.forward = lambda self, text: self.predict(text=text)
        rows = [dspy.Example(text=each.text, label=each.label).with_inputs("text") for each in learned]
        chooser = dspy.BootstrapFewShot(
            metric=lambda row, found, trace=None: row.label == found.label,
            max_bootstrapped_demos=examples // 2 or 1,
            max_labeled_demos=examples,
            max_rounds=1,
        )
        with dspy.context(lm=dspy.utils.DummyLM([])):  # never asked: predictions are ours
            chosen = chooser.compile(Judge(), trainset=rows)
        shots = [(demo["text"], demo["label"]) for demo in chosen.predict.demos]
        before, after = (asker.accuracy(held, several) for several in (asker.own, shots))
    made = {"instructions": asker.instructions, "examples": [{"text": text, "label": label} for text, label in shots]}
    note = f"# Chosen by dspy's BootstrapFewShot; accuracy on {len(held)} other gold rows: {before:.3f} before, {after:.3f} with these\n"
    write_text(output, note + yaml.safe_dump(made, allow_unicode=True, sort_keys=False, width=120))
    return {"before": before, "after": after, "rows": len(held), "examples": len(shots)}


def _known(project: Project, config: "LabelConfig") -> list[Known]:
    from src.core.tables import read_records
    from src.label import label

    if config.classes is None or config.gold is None:
        raise MlxError("prompt optimisation needs label.classes and label.gold", "add gold: {path: …, column: …}")
    records = [record for each in label.inputs(project)["records"] for record in read_records(each.path)]
    known = config.gold.known(records, config.classes, seed=derive(project.head.seed, "optimise"))
    if len(known) < _FEWEST:
        raise MlxError(f"label.gold has {len(known)} rows, and {_FEWEST} are needed at least", "label some more by hand")
    return known


class _Asker:
    """Labels single texts as the stage does, with examples that change."""

    def __init__(self, config: "LabelConfig", answers: Answers, seed: int) -> None:
        self.config = config
        self.answers = answers
        self.seed = seed
        self.own = list(task_of(config, seed).shots)
        self.instructions = config.instructions or task_of(config, seed).about.split("\n")[0]

    def label(self, text: str, demos: Sequence[Any]) -> str:
        """The model's class for a text, or nothing."""
        return self._ask([text], [(demo["text"], demo["label"]) for demo in demos if demo["text"] != text])[0]

    def accuracy(self, known: Sequence[Known], shots: Sequence[tuple[str, str]]) -> float:
        """Share of right labels."""
        said = self._ask([each.text for each in known], shots)
        return sum(one == each.label for one, each in zip(said, known, strict=True)) / len(known)

    def _ask(self, texts: Sequence[str], shots: Sequence[tuple[str, str]]) -> list[str]:
        from src.llm.asking.calls import Calls
        from src.llm.limits import Limits

        config = self.config
        shown = [{"text": text, "label": label} for text, label in shots]
        changed = config.model_copy(update={"examples": tuple(type(config).model_fields["examples"].default), "prompt": None})
        task = task_of(changed.model_copy(update={"examples": tuple(_shot(each) for each in shown)}), self.seed)
        standing = Standing(
            questions_of(config, task), self.answers, model=config.backend.name, batch=1, votes=config.votes, repair=config.repair
        )
        calls = Calls(
            config.backend.open,
            standing,
            make_limits=lambda: Limits(requests_per_minute=config.requests_per_minute, tokens_per_minute=config.tokens_per_minute),
            concurrency=config.concurrency or 4,
            max_retries=getattr(config.backend, "max_retries", 0),
        )
        if any(isinstance(standing.of(text), Ask) for text in texts):
            calls.put(texts)
        return [str(outcome_of(standing, text).value or "") for text in texts]


def _shot(row: dict[str, str]) -> Any:
    from src.label import LabelledText

    return LabelledText(**row)
