"""Write what a classifier's training leaves behind: the best state, curves, and what the next stages need to know."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.files import write_text
from src.core.run import Run
from src.core.stage import folder
from src.models.classifier import Classifier
from src.models.confusion import plot_confusion
from src.models.template import template_hash
from src.models.trained import beside, fingerprint
from src.track.metrics import read_metrics
from src.train.base import Base
from src.train.checkpoints import Checkpoint
from src.train.class_data import Data
from src.train.class_monitor import SCORES, best_folder
from src.train.class_plot import plot_scores
from src.train.plot import plot
from src.train.selection import best_step, is_spent

if TYPE_CHECKING:
    from src.train import TrainConfig

METRICS = "metrics.jsonl"
_ADAPTER, _WEIGHTS = "adapter_config.json", ("config.json", "adapter_model.safetensors", "*model*.safetensors*")


def measured(work: Path) -> list[dict[str, float]]:
    """What was measured on the validation split, the untrained model aside."""
    return [row for row in read_metrics(work / METRICS) if row["step"] > 0 and "validation_loss" in row]


def write(config: "TrainConfig", run: Run, base: Base, data: Data, checkpoint: Checkpoint, *, seconds: float) -> None:
    """Write the output. Copies: a kill from here on finds all where it was."""
    history = measured(run.work)
    step = best_step(history, config.classify.best)
    kept = best_folder(run.work, step)
    scores = json.loads((kept / SCORES).read_text(encoding="utf-8"))
    trained = _trained(config, run, base, data)
    place = run.output / trained.adapter.name
    _copy_weights(kept, place)
    data.reading.tokenizer.save_pretrained(place)
    shutil.copy(run.work / METRICS, run.output)
    if (run.work / "tensorboard").exists():
        shutil.copytree(run.work / "tensorboard", run.output / "tensorboard")
    rows = read_metrics(run.output / METRICS)
    commonest = max(map(sum, scores["confusion"])) / sum(map(sum, scores["confusion"]))
    title = f"{run.name}: {_named(config)}"
    plot(rows, run.output / "loss.png", title=title, unit="nats per row")
    plot_scores(rows, run.output / "scores.png", title=title, best=step, commonest=commonest)
    plot_confusion(scores["confusion"], data.labels, run.output / "confusion.png", title=f"Validation rows, step {step}")
    run.info |= trained.as_info() | {
        "classes": dict(zip(data.labels, data.counts, strict=True)),
        "weights": dict(zip(data.labels, data.weights, strict=True)),
        "steps": checkpoint.step,
        "best_step": step,
        "ended_early": is_spent(history, config.classify.watch, config.classify.patience),
        "validation": scores,
        "commonest_class": commonest,
        "seconds": round(seconds, 1),
        **_figures(rows),
    }
    told = (step, scores["accuracy"], commonest, scores["macro_f1"])
    run.log.info("kept step %d: accuracy %.3f (commonest class %.3f), macro F1 %.3f", *told)


def _figures(rows: list[dict[str, float]]) -> dict[str, Any]:
    losses = [row["loss"] for row in rows if "loss" in row]
    found = [row["validation_loss"] for row in rows if "validation_loss" in row]
    return {
        "loss": sum(losses[-10:]) / len(losses[-10:]),
        "validation_loss": found[-1],
        "validation_loss_before": found[0],
        "tokens": int(next(row["tokens"] for row in reversed(rows) if "tokens" in row)),
    }


def _named(config: "TrainConfig") -> str:
    how = f"{config.quantization}, LoRA r={config.lora.r}" if config.lora else "all weights"
    return f"{Path(config.model).name}, {how}"


def _trained(config: "TrainConfig", run: Run, base: Base, data: Data) -> Classifier:
    is_folder = base.kind != "hub"
    return Classifier(
        base=base.path,
        base_kind=base.kind,
        base_beside=beside(base.path, folder(run.name, run.stage)) if is_folder else None,
        base_fingerprint=fingerprint(Path(base.path)) if is_folder else None,
        quantization=config.quantization,
        dtype=base.dtype,
        device="cpu" if base.on_cpu else "cuda",
        template=template_hash(data.reading.tokenizer),
        labels=data.labels,
        priors=tuple(count / len(data.train) for count in data.counts),
        whole=config.lora is None,
        max_tokens=data.reading.longest,
        too_long=data.reading.too_long,
    )


def _copy_weights(kept: Path, place: Path) -> None:
    """Copy weights and configs; an adapter's config with its lists in order, which are sets in PEFT."""
    place.mkdir()
    for file in sorted({file for pattern in _WEIGHTS for file in kept.glob(pattern)}):
        shutil.copy(file, place)
    if (kept / _ADAPTER).exists():
        settings = json.loads((kept / _ADAPTER).read_text(encoding="utf-8"))
        for key in ("target_modules", "modules_to_save"):
            if isinstance(settings[key], list):
                settings[key].sort()
        write_text(place / _ADAPTER, json.dumps(settings, indent=2, sort_keys=True) + "\n")
