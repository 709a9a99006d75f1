"""The card of a model, written from lineage: data and licences, settings, figures with their intervals, gates, how to serve."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from src.core.manifest import Manifest
from src.core.run import Run
from src.core.secrets import redact
from src.models.trained import Trained

What = Literal["merge", "gguf", "adapter"]
LIBRARY = {"merge": "transformers", "gguf": "gguf", "adapter": "peft"}
_SECTIONS = ("Sources", "Licences")
_ABSOLUTE = re.compile(r"""(?<![\w:/.~])(?:/|~/|[A-Za-z]:\\)(?:[^\s/\\'"`|]+[/\\])+([^\s/\\'"`|]+)""")
"""A path that means something on one machine only."""


@dataclass(frozen=True)
class Card:
    """What is needed to write one."""

    name: str
    what: What
    trained: Trained
    train: Manifest
    dataset: Path | None
    evaluation: Path | None
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the export noted."""

    @classmethod
    def of(cls, run: Run, trained: Trained, what: What) -> Self:
        """Gather what the export `run` of `trained` tells."""
        train = Manifest.read(trained.folder)
        data = next((Path(origin.path) for origin in train.inputs.get("dataset", ())), None)
        evaluated = run.input("evaluation").path if run.has("evaluation") else None
        return cls(run.name, what, trained, train, data, evaluated, run.info)

    def text(self) -> str:
        """Markdown with a head that the hub reads; without secrets, and without paths of this machine."""
        parts = [
            *self.head(),
            *self.opening(),
            *self.use(),
            *self.figures(),
            *self.losses(),
            *self.data(),
            *self.training(),
            *self.lineage(),
        ]
        return _portable("\n".join(parts).rstrip() + "\n")

    def head(self) -> Iterator[str]:
        """YAML front matter."""
        about: dict[str, Any] = {"library_name": LIBRARY[self.what], "pipeline_tag": "text-generation"}
        if self.trained.base_kind == "hub":
            relation = {"merge": "finetune", "gguf": "quantized", "adapter": "adapter"}[self.what]
            about |= {"base_model": self.trained.base, "base_model_relation": relation}
        about["tags"] = ["mlx-toolkit", self.trained.task, *(["lora"] if self.trained.adapter else [])]
        if results := self._results():
            task = {"type": "text-generation"}
            data = {"name": f"{self.name}, held out", "type": self.name}
            about["model-index"] = [{"name": self.name, "results": [{"task": task, "dataset": data, "metrics": results}]}]
        yield f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True).rstrip()}\n---\n"

    def opening(self) -> Iterator[str]:
        """What it is."""
        base = "a small base made from the project's own texts" if self.trained.base_kind == "scratch" else f"`{_last(self.trained.base)}`"
        made = {"merge": "The whole model, the adapter folded in.", "gguf": "For llama.cpp and Ollama.", "adapter": "A LoRA adapter."}
        yield f"# {self.name}\n"
        yield f"{made[self.what]} Made from {base} by `mlx {self.train.stage}` ({self.trained.task}, {self.trained.quantization}).\n"
        if self.trained.system:
            yield f"It was trained with the system prompt {json.dumps(self.trained.system, ensure_ascii=False)}.\n"

    def use(self) -> Iterator[str]:
        """How to serve it."""
        here = {
            "merge": "vllm serve PATH --dtype {dtype}\nmlx serve CONFIG serve.input=PATH serve.engine.type=vllm",
            "adapter": "vllm serve BASE --enable-lora --lora-modules {name}=PATH --tokenizer PATH",
            "gguf": "ollama create {name} -f Modelfile && ollama run {name}\nllama-server -m {file} --jinja   # tools too",
        }[self.what]
        yield "## Use\n"
        text = here.format(dtype=_VLLM.get(str(self.info.get("dtype")), "auto"), name=self.name, file=self.info.get("file", ""))
        yield f"```bash\n{text}\n```\n"
        if (parity := self.info.get("difference")) and self.what == "merge":
            apart = f"at most {parity['largest']:.1e} nats a token, {parity['mean']:.1e} in the mean (allowed {parity['allowed']})"
            compared = f"{parity['tokens']:,} tokens of {parity['rows']} rows"
            yield f"Log-probabilities differ from those before merging by {apart}: {compared}.\n"
        yield from (f"{note}\n" for note in self.info.get("notes", ()))

    def figures(self) -> Iterator[str]:
        """What the evaluation measured."""
        yield "## Evaluation\n"
        if self.evaluation is None:
            yield "This model was not evaluated.\n"
            return
        info = Manifest.read(self.evaluation).info
        settings = info["settings"]
        yield f"{settings['rows']} rows of the split `{settings['split']}`, which training did not see; intervals at 95 %.\n"
        yield f"```text\n{info['table']}\n```\n"
        if info["verdict"] == "fail":
            yield "**It failed its gates and was exported all the same.**\n"

    def losses(self) -> Iterator[str]:
        """What each form of the model loses on held-out rows."""
        if losses := self.info.get("losses"):
            yield "## Held-out loss\n"
            yield "Nats per token the assistant says, on the same rows:\n"
            yield from _table(["model", "loss"], [[name, f"{value:.4f}"] for name, value in losses.items()])

    def data(self) -> Iterator[str]:
        """Where the rows come from, out of the dataset's own card."""
        yield "## Data\n"
        made = Manifest.find(self.dataset) if self.dataset else None
        if made is None or self.dataset is None:
            yield "The dataset is not at hand.\n"
            return
        splits = ", ".join(f"{name} {part['rows']:,}" for name, part in made.info.get("splits", {}).items())
        yield f"Rows: {splits}; read {made.counts['read']:,}, kept {made.counts['kept']:,}, dropped {made.counts['dropped']:,}.\n"
        card = self.dataset / "card.md"
        if card.exists():
            for title in _SECTIONS:
                yield from _section(card.read_text(encoding="utf-8"), title)

    def training(self) -> Iterator[str]:
        """Settings and how it went."""
        info = self.train.info
        keys = ("steps", "tokens", "trainable_parameters", "loss", "validation_loss_before", "validation_loss", "seconds")
        yield "## Training\n"
        yield from _table(["", ""], [[key.replace("_", " "), _figure(info[key])] for key in keys if info.get(key) is not None])
        settings = {key: value for key, value in self.train.config.items() if key not in ("input", "track", "device") and value is not None}
        yield f"Seed {self.train.seed}, with these settings:\n"
        yield f"```yaml\n{yaml.safe_dump({'train': settings}, sort_keys=False, allow_unicode=True, width=120).rstrip()}\n```\n"

    def lineage(self) -> Iterator[str]:
        """Fingerprints back to the first stage, and versions."""
        yield "## Lineage\n"
        yield f"Chat template and tokenizer: `{self.trained.template}`\n"
        rows = [["train", self.train.fingerprint, f"{self.train.created:%Y-%m-%d}"], *_earlier(self.train)]
        yield from _table(["stage", "fingerprint", "made"], [[stage, f"`{mark}`", day] for stage, mark, day in rows])
        versions = {name: version for name, version in self.train.versions.items() if name != "platform"}
        yield "Trained with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n"

    def _results(self) -> list[dict[str, Any]]:
        if self.evaluation is None or not (file := self.evaluation / "metrics.json").exists():
            return []
        found = json.loads(file.read_text(encoding="utf-8"))["metrics"]
        return [{"type": each["name"], "value": each["models"]["tuned"]["value"]} for each in found if "tuned" in each["models"]]


_VLLM = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def _earlier(manifest: Manifest) -> Iterator[list[str]]:
    """Stage, fingerprint and day of all that an output was made from, as far as it is still there."""
    for origin in (each for origins in manifest.inputs.values() for each in origins):
        found = Manifest.find(Path(origin.path))
        if found and found.fingerprint == origin.fingerprint:
            yield [found.stage, found.fingerprint, f"{found.created:%Y-%m-%d}"]
            yield from _earlier(found)


def _section(card: str, title: str) -> Iterator[str]:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.M | re.S)
    if found:
        yield f"### {title}\n{found[1].rstrip()}\n"


def _portable(text: str) -> str:
    return redact(_ABSOLUTE.sub(r"\1", text))


def _last(path: str) -> str:
    return path if path.count("/") == 1 and not path.startswith((".", "/")) else Path(path).name


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join("---" for _ in header) + "|"
    yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    yield ""
