"""Measure base and tuned model: intervals, gates, a report."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from src.core.errors import did_you_mean
from src.core.manifest import Manifest
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.eval.classification import Classification
from src.eval.contamination import Contamination
from src.eval.engine import EngineChoice, InProcess
from src.eval.exact import Exact
from src.eval.gates import Gate
from src.eval.grounded import Grounded
from src.eval.json_schema import JsonSchema
from src.eval.length import Length
from src.eval.llm_judge import LlmJudge
from src.eval.lm_eval import LmEval
from src.eval.models import BaseModel, ModelChoice, TunedModel
from src.eval.perplexity import Perplexity
from src.eval.rouge import Rouge
from src.eval.safety import Safety
from src.eval.style import Style
from src.eval.suites import Suite
from src.eval.tool_calls import ToolCalls
from src.eval.toxicity import Toxicity

Metric = Annotated[
    Perplexity
    | ToolCalls
    | Style
    | Classification
    | Grounded
    | Exact
    | Rouge
    | JsonSchema
    | Length
    | LlmJudge
    | Safety
    | Toxicity
    | LmEval,
    Field(discriminator="type"),
]


class EvalConfig(StageConfig):
    """What is measured, on which rows, and which bars the tuned model has to clear."""

    metrics: tuple[Metric, ...] = (Perplexity(), ToolCalls(), Style())
    """What to measure; of a classifier `classification` if nothing is said."""
    gates: tuple[Gate, ...] = ()
    """Bars; one that is failed makes the command end with exit code 1, one left undecided with 3."""
    models: tuple[ModelChoice, ...] = (BaseModel(), TunedModel())
    """What is compared: `base`, `tuned`, a `folder` of an earlier training, a model behind an `api`."""
    suites: tuple[Suite, ...] = ()
    """Prompts that are asked besides, each a file with figures of its own: safety sets, the Berkeley function-calling questions."""
    engine: EngineChoice = InProcess()
    """What generates the answers of models on disk: `transformers`, in this process, or `vllm`, started for it."""
    contamination: Contamination | None = Contamination()
    """How test rows are looked for among training rows before anything is asked; null: not at all."""
    split: Literal["test", "validation", "train"] = "test"
    """The rows to measure on."""
    limit: int | None = Field(200, ge=1)
    """Most rows of each kind (`kind:` tag, else tool calls and plain answers); null for all."""
    max_new_tokens: int = Field(256, ge=1)
    """Longest answer, in tokens."""
    batch_size: int = Field(16, ge=1)
    """Rows at a time."""

    @model_validator(mode="after")
    def gates_are_measured(self) -> Self:
        """Name a gate on a figure that no metric here gives, and a metric that is there twice."""
        types: list[str] = [metric.type for metric in self.metrics]
        if twice := next((kind for kind in types if types.count(kind) > 1), None):
            raise ValueError(f"metrics: {twice!r} is there twice")
        if same := next((name for name in self.model_names if self.model_names.count(name) > 1), None):
            raise ValueError(f"models: two are called {same!r}")
        if same := next((name for name in self.suite_names if self.suite_names.count(name) > 1), None):
            raise ValueError(f"suites: two are called {same!r}")
        names = [name for metric in self.metrics for name in metric.names]
        names += [f"{suite.name}/{figure}" for suite in self.suites for figure in suite.figures]
        for gate in self.gates:
            if gate.metric not in names:
                raise ValueError(f"gates: no metric here gives {gate.metric!r}{did_you_mean(gate.metric, names)}")
            for model in (gate.model, gate.against):
                if model is not None and model not in self.model_names:
                    raise ValueError(f"gates: no model here is called {model!r}{did_you_mean(model, self.model_names)}")
        return self

    @property
    def suite_names(self) -> list[str]:
        """What the suites are called."""
        return [suite.name for suite in self.suites]

    @property
    def model_names(self) -> list[str]:
        """What the models are called."""
        return [model.name for model in self.models]


@stage(reads={"dataset": ("build",), "model": ("train",), "records": ("label", "dedup", "scrape", None)})
def eval(config: EvalConfig, run: Run) -> None:  # noqa: A001
    """Measure base and tuned model on held-out rows: perplexity, tool calls, style, with intervals, gates and a report."""
    made = run.input("model").manifest
    if made and made.info.get("task") == "classify":
        from src.eval.classify import evaluate_classifier

        metrics = config.metrics if "metrics" in config.model_fields_set else (Classification(),)
        evaluate_classifier(run, metrics=metrics, gates=config.gates, split=config.split, limit=config.limit, batch_size=config.batch_size)
        return
    from src.eval.evaluate import Plan, evaluate

    models = config.models
    if made and made.info.get("weights") == "." and "models" not in config.model_fields_set:
        models = (TunedModel(),)  # an export: it has no base
    evaluate(
        run,
        Plan(
            metrics=config.metrics,
            gates=config.gates,
            models=models,
            suites=config.suites,
            engine=config.engine,
            contamination=config.contamination,
            split=config.split,
            limit=config.limit,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
        ),
    )


def exit_code(manifest: Manifest) -> int:
    """What the command ends with: 0 where every gate is passed, 1 where one is failed, 3 where one is undecided."""
    return {"fail": 1, "undecided": 3}.get(str(manifest.info.get("verdict")), 0)
