"""Write what a training leaves behind: adapter or model, curves, and what the next stages need to know."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from src.core.files import write_text
from src.core.run import Run
from src.core.stage import folder
from src.models.load import load_tokenizer
from src.models.template import template_hash
from src.models.trained import ADAPTER, MODEL, Trained, beside, fingerprint
from src.track.metrics import read_metrics
from src.train.base import Base
from src.train.checkpoints import Checkpoint, best
from src.train.fit import METRICS
from src.train.plot import plot

if TYPE_CHECKING:
    from src.train import TrainConfig

FIGURES = "figures.json"
_UNITS = {"dpo": "of a pair; ln 2 is no preference", "classify": "nats per row"}
LOSSES, TRAIN_LOSSES = "losses.jsonl", "train_losses.jsonl"


def write_output(config: "TrainConfig", run: Run, base: Base, last: Checkpoint, *, seconds: float) -> None:
    """Write the output from the last checkpoint, or the best one where the config asks for it.

    Everything is copied: a kill from here on finds the work where it was.

    Args:
        config: The section.
        run: Its work folder holds metrics.jsonl, and figures.json with what was noted before the training.
        base: What was trained on.
        last: The checkpoint the training ended with.
        seconds: What it took.
    """
    chosen = best(last) if config.best else last
    made = run.output / (ADAPTER if config.lora else MODEL)
    made.mkdir()
    _write_adapter(chosen.folder, made) if config.lora else _write_model(chosen.folder, made, base.dtype)
    tokenizer = load_tokenizer(base.tokenizer)
    tokenizer.save_pretrained(made)
    shutil.copy(run.work / METRICS, run.output)
    if (losses := run.work / "losses" / f"{chosen.step}.jsonl").exists():
        shutil.copy(losses, run.output / LOSSES)
    if (run.work / "losses" / TRAIN_LOSSES).exists():
        shutil.copy(run.work / "losses" / TRAIN_LOSSES, run.output)
    if (run.work / "tensorboard").exists():
        shutil.copytree(run.work / "tensorboard", run.output / "tensorboard")
    rows = read_metrics(run.output / METRICS)
    title = f"{run.name}: {config.task}, {Path(config.model).name}, {method(config)}"
    plot(rows, run.output / "loss.png", title=title, unit=_UNITS.get(config.task, "nats per learned token"))
    trained = _trained(config, run, base, template=template_hash(tokenizer))
    figures = json.loads((run.work / FIGURES).read_text(encoding="utf-8"))
    run.info |= trained.as_info() | figures | _summary(rows, last, chosen) | {"seconds": round(seconds, 1)}


def method(config: "TrainConfig") -> str:
    """How it is trained, in a few words."""
    return f"{config.quantization}, LoRA r={config.lora.r}" if config.lora else "all weights"


def _write_adapter(checkpoint: Path, made: Path) -> None:
    shutil.copy(checkpoint / "adapter_model.safetensors", made)
    settings = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))
    for name in ("target_modules", "modules_to_save"):
        if isinstance(settings.get(name), list):
            settings[name].sort()  # a set in PEFT, of another order in each process
    write_text(made / "adapter_config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _write_model(checkpoint: Path, made: Path, dtype: str) -> None:
    """Copy a model whose weights were trained in fp32, in the dtype that was computed in."""
    for file in sorted(checkpoint.glob("*.safetensors")):
        if dtype == "fp32":
            shutil.copy(file, made)
        else:
            weights = {name: each.to(torch.bfloat16) if each.is_floating_point() else each for name, each in load_file(file).items()}
            save_file(weights, made / file.name, metadata={"format": "pt"})
    for name in ("model.safetensors.index.json", "generation_config.json"):
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, made)
    settings = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    settings |= {"dtype": "float32" if dtype == "fp32" else "bfloat16"}
    write_text(made / "config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _trained(config: "TrainConfig", run: Run, base: Base, *, template: str) -> Trained:
    dataset = run.input("dataset").manifest
    is_folder = base.kind != "hub"
    return Trained(
        base=base.path,
        base_kind=base.kind,
        base_beside=beside(base.path, folder(run.name, run.stage)) if is_folder else None,
        base_fingerprint=fingerprint(Path(base.path)) if is_folder else None,
        task=config.task,
        weights="adapter" if config.lora else "model",
        quantization=config.quantization,
        dtype=base.dtype,
        device="cpu" if base.on_cpu else "cuda",
        template=template,
        system=dataset.info.get("system") if dataset else None,
    )


def _summary(rows: Sequence[Mapping[str, float]], last: Checkpoint, chosen: Checkpoint) -> dict[str, Any]:
    losses = [row["loss"] for row in rows if "loss" in row]
    measured = {int(row["step"]): row for row in rows if "validation_loss" in row}
    end = next(row for row in reversed(rows) if "tokens" in row)
    there = measured.get(chosen.step) or (measured[max(measured)] if measured else {})
    more = {name: value for name, value in there.items() if name.startswith("validation_") and name != "validation_loss"}
    return {
        "steps": last.step,
        "written_step": chosen.step,
        "tokens": int(end["tokens"]),
        "tokens_all": int(end["tokens_all"]),
        "loss": sum(losses[-10:]) / len(losses[-10:]),
        "validation_loss": there.get("validation_loss"),
        "validation_loss_before": measured.get(0, {}).get("validation_loss"),
        **more,
    }
