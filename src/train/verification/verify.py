"""Compares the trained model with its export and with what vLLM serves: the same conversations, like with like."""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from src.core.errors import MlxError
from src.core.manifest import Manifest, now, versions
from src.core.project import Project
from src.core.stage import folder
from src.models.libraries import routed
from src.models.likelihood import token_log_probs
from src.models.load import load, load_tokenizer
from src.models.merge import load_dequantized, load_on_original
from src.models.size import context
from src.models.template import template_hash
from src.models.trained import Trained
from src.train.verification.comparison import ALLOWED, ROUNDED, Allowed, Check, same_ids, same_log_probs
from src.train.verification.engine import Vllm
from src.train.verification.report import Report
from src.train.verification.rows import Chosen, choose
from src.train.verification.served import Served

LOG = logging.getLogger("mlx.verify")
LogProbs = list[list[float]]


@dataclass(frozen=True)
class Merged:
    """A merged export of the model."""

    path: Path
    dtype: str
    base: str
    """Whose weights it was merged into: `dequantized` or `original`."""


def verify(project: Project, *, rows: int, url: str | None, dtype: str) -> Report:
    """Compare, and write verify.json and verify.png to checkpoint/<project>/verify.

    Args:
        project: Whose training is verified.
        rows: Most conversations.
        url: A vLLM that runs; without one it is started here, where there is one.
        dtype: What vLLM computes in; `auto` for that of the training.

    Raises:
        MlxError: Where there is nothing to compare, or a server fails.
    """
    with routed():
        work = _Verification(project, rows, dtype)
        work.exported()
        if url:
            work.running(url)
        else:
            work.started()
    work.report.write(Path("checkpoint") / project.name / "verify")
    return work.report


class _Verification:
    def __init__(self, project: Project, rows: int, dtype: str) -> None:
        self.project = project
        where = folder(project.name, "train")
        self.trained = Trained.of(where, f"mlx train {project.arguments}")
        if self.trained.task == "classify":
            raise MlxError("a classifier has no conversations to verify", "`mlx eval` compares its labels")
        self.dtype: str = self.trained.dtype if dtype == "auto" else dtype
        self.tokenizer = load_tokenizer(self.trained.tokenizer)
        engine: Any = getattr(project.sections.get("serve"), "engine", None)
        served = getattr(engine, "max_model_len", None) or 1 << 20
        self.longest = min(context(self.trained.model) or 1 << 20, served) - 1  # vLLM wants room for a token
        self.chosen: Chosen = choose(self.trained, self.tokenizer, rows=rows, seed=project.head.seed, longest=self.longest)
        self.merged = find_merged(project, self.trained)
        self._known: dict[tuple[str, str], LogProbs] = {}
        self.report = Report(self._about(where))
        LOG.info("comparing on %s", self.chosen.words())
        if template_hash(self.tokenizer) != self.trained.template:
            raise MlxError("the tokenizer beside the model is not the one it was trained with", f"mlx train {project.arguments}")

    def exported(self) -> None:
        """The merged export, and what another base than the trained one changes: both in transformers."""
        if self.merged:
            wanted = "original" if self.merged.base == "original" else "trained" if self.trained.quantization == "nf4" else "dequantized"
            self._compare("merged, transformers", self._merged(), wanted, self.trained.dtype, ROUNDED[self.merged.dtype])
        elif self.trained.adapter:
            self.report.unchecked.append(("a merged export: there is none of this model", f"mlx export merge {self.project.arguments}"))
        if self.trained.quantization != "none":
            self._compare(
                "original base, transformers", self.reference("original", self.trained.dtype), "trained", self.trained.dtype, None
            )

    def running(self, url: str) -> None:
        """What runs at `url`."""
        serve: Any = self.project.sections.get("serve")
        served = Served(url, getattr(serve, "model_name", None) or self.project.name)
        LOG.info("asking %s for %s", served.where, served.name)
        if served.has_adapter or not self.trained.adapter:
            self._served(served, "adapter" if served.has_adapter else "model", "original", self.dtype)
        elif self.merged:
            self._served(served, "merged", "merged", self.merged.dtype)
        else:
            raise MlxError(f"{served.where} serves no adapter, and there is no merged export of this model", "`mlx export merge` makes one")

    def started(self) -> None:
        """What vLLM makes of the adapter, and of the merged export."""
        try:
            engine = Vllm.of(self.project)
        except MlxError as error:
            again = f"VLLM_EXECUTABLE=.venv-vllm/bin/vllm mlx verify {self.project.arguments}"
            self.report.unchecked.append((f"what is served: {error}", f"bash_script/vllm_cpu, then {again}"))
            return
        longest = max(len(row.ids) for row in self.chosen.rows) + 1
        adapter = self.trained.adapter
        base = "trained" if engine.quantises else "original"
        self.reference(base, self.dtype)  # before vLLM takes the memory
        LOG.info("starting vLLM with the %s", "adapter" if adapter else "model")
        with engine.serving(self.trained.model, adapter, self.trained.tokenizer, dtype=self.dtype, longest=longest) as served:
            self._served(served, "adapter" if adapter else "model", base, self.dtype)
        if self.merged:
            LOG.info("starting vLLM with the merged export")
            with engine.serving(self.merged.path.as_posix(), None, self.merged.path, dtype=self.merged.dtype, longest=longest) as served:
                self._served(served, "merged", "merged", self.merged.dtype)

    def reference(self, kind: str, dtype: str) -> LogProbs:
        """Log-probabilities in transformers: of the model as `trained`, `dequantized`, on the `original` base, or `merged`."""
        if kind == "trained" and self.trained.quantization == "none":
            kind = "original"
        if (kind, dtype) not in self._known:
            self._known[kind, dtype] = self._measure(kind, dtype)
        return self._known[kind, dtype]

    def _measure(self, kind: str, dtype: str) -> LogProbs:
        LOG.info("log-probabilities of the %s model in transformers", kind)
        with _freed():
            if kind == "original":
                model = load_on_original(self.trained, dtype=dtype).model
            elif kind == "dequantized":
                model = load_dequantized(self.trained).model
            elif kind == "merged" and self.merged:
                model = load(self.merged.path, dtype=dtype).model
            else:
                model = self.trained.load(dtype=dtype).model
            return [token_log_probs(model, row.ids) for row in self.chosen.rows]

    def _merged(self) -> LogProbs:
        assert self.merged  # noqa: S101 (asked by the callers)
        return self.reference("merged", self.merged.dtype)

    def _served(self, served: Served, what: str, wanted: str, dtype: str) -> None:
        self.report.checks.append(self._tokens(served, what))
        found = [served.log_probs(row.ids) for row in self.chosen.rows]
        self._compare(f"{what}, vLLM {dtype}", found, wanted, dtype, ALLOWED[dtype])

    def _tokens(self, served: Served, what: str) -> Check:
        """Token ids of each conversation and of the prompt for its last turn."""
        pairs = []
        for number, row in enumerate(self.chosen.rows):
            pairs.append((number, row.ids, served.tokens(row.messages, row.tools, prompt=False)))
            pairs.append((number, self._prompt(row.messages[:-1], row.tools), served.tokens(row.messages[:-1], row.tools, prompt=True)))
        return same_ids(f"tokens, vLLM with the {what}", self.chosen.rows, pairs, self.tokenizer)

    def _prompt(self, messages: Sequence[Any], tools: Sequence[Any]) -> list[int]:
        from src.models.template import prompt_ids

        return prompt_ids(self.tokenizer, messages, tools)

    def _compare(self, name: str, found: LogProbs, wanted: str, dtype: str, allowed: Allowed | None) -> None:
        expected = self.reference(wanted, dtype)
        against = {
            "trained": f"as trained ({self.trained.quantization}, {dtype})",
            "dequantized": f"dequantised base ({self.trained.dtype})",
            "original": f"original base, transformers {dtype}",
            "merged": f"merged, transformers {dtype}",
        }[wanted]
        self.report.checks.append(same_log_probs(name, against, self.chosen.rows, expected, found, self.tokenizer, allowed=allowed))

    def _about(self, where: Path) -> dict[str, Any]:
        return {
            "model": self.project.name,
            "fingerprint": Manifest.read(where).fingerprint,
            "template": self.trained.template,
            "quantization": self.trained.quantization,
            "split": self.chosen.split,
            "rows": [row.id for row in self.chosen.rows],
            "left_out": self.chosen.left_out,
            "made": now().isoformat(timespec="seconds"),
            "versions": versions(),
        }


def find_merged(project: Project, trained: Trained) -> Merged | None:
    """The merged export of this very training, or None."""
    place = Path("checkpoint") / project.name / "export" / "merge"
    manifest = Manifest.find(place)
    fingerprint = Manifest.read(trained.folder).fingerprint
    if manifest is None or not any(origin.fingerprint == fingerprint for origin in manifest.inputs.get("model", ())):
        return None
    return Merged(place, manifest.info["dtype"], manifest.info["merged_into"])


@contextmanager
def _freed() -> Iterator[None]:
    """Give back what a model took, to others on the same GPU too."""
    try:
        yield
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
