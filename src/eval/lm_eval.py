"""Public benchmarks, by the harness that published figures are made with."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from src.core.address import http_url
from src.core.config import Config, InputPath
from src.core.errors import MlxError
from src.eval.measure import TUNED, Evidence, Finding, Measure, Row


class LmEval(Config):
    """Tasks of lm-evaluation-harness (Gao et al.; extra `lm_eval`), asked of a served model: `lm_eval.TASK` is the mean of its metric.

    The model has to be served beside, as by `mlx serve`. Chat models answer tasks that generate; log-likelihoods (multiple choice,
    perplexity) need a server with `/v1/completions` that echoes them, such as vLLM, and `tokenizer`.
    """

    type: Literal["lm_eval"] = "lm_eval"
    tasks: dict[str, str] = Field(min_length=1)
    """The metric to take of each task: {gsm8k: exact_match, my_task: acc}."""
    base_url: Annotated[str, AfterValidator(http_url)] = "http://127.0.0.1:8000/v1"
    """Address of the served model's API, ending in /v1."""
    model: str = Field(min_length=1)
    """Its name there."""
    api: Literal["chat", "completions"] = "chat"
    """What the server is asked by."""
    tokenizer: str | None = None
    """Folder of the tokenizer, for `api: completions`."""
    include: InputPath | None = None
    """A folder with tasks of your own."""
    limit: int | None = Field(None, ge=1)
    """Most rows of a task; null for all."""

    reads: ClassVar[str] = "nothing"

    @property
    def names(self) -> tuple[str, ...]:
        """Its figures."""
        return tuple(f"lm_eval.{task}" for task in self.tasks)

    def files(self) -> Iterable[Path]:
        """What is read besides the rows."""
        return sorted(path for path in self.include.rglob("*") if path.is_file()) if self.include else []

    def score(self, evidence: Evidence) -> Finding:
        """Run the tasks; a row each of their documents."""
        try:
            import lm_eval
            from lm_eval.tasks import TaskManager
        except ModuleNotFoundError:
            return Finding(missing=dict.fromkeys(self.names, "lm-evaluation-harness is not installed: uv sync --extra lm_eval"))
        logging.getLogger("lm_eval").setLevel(logging.WARNING)
        end = "chat/completions" if self.api == "chat" else "completions"
        settings: dict[str, Any] = {"model": self.model, "base_url": f"{self.base_url}/{end}", "num_concurrent": 4, "max_retries": 5}
        settings |= {"tokenizer": self.tokenizer} if self.tokenizer else {"tokenizer_backend": None}
        try:
            found = lm_eval.simple_evaluate(
                model=f"local-{'chat-' if self.api == 'chat' else ''}completions",
                model_args=settings,
                tasks=list(self.tasks),
                task_manager=TaskManager(include_path=str(self.include) if self.include else None),
                apply_chat_template=self.api == "chat",
                limit=self.limit,
                log_samples=True,
                bootstrap_iters=0,
            )
        except KeyError as error:
            raise MlxError(f"lm_eval: there is no task {error}", "look at `lm_eval ls tasks`, or set `include`") from None
        return self._finding(found["samples"], lm_eval.__version__)

    def _finding(self, samples: Mapping[str, list[dict[str, Any]]], version: str) -> Finding:
        finding = Finding(detail={"lm_eval": {"version": version, "model": self.model, "tasks": dict(self.tasks)}})
        for name, (task, metric) in zip(self.names, self.tasks.items(), strict=True):
            values = {sample["doc_id"]: sample[metric] for sample in reversed(samples.get(task, ())) if metric in sample}
            if values:
                rows = [Row(place, place, (), float(values[number])) for number in sorted(values) for place in [f"{name}:{number}"]]
                finding.measures.append(Measure(name, {TUNED: rows}))
            else:
                finding.missing[name] = f"the task gives no {metric!r}"
        return finding
