"""Supervised fine-tuning with QLoRA: TRL trains, this hands it checked rows and takes up where a kill left off."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.run import Run
from src.core.stage import folder
from src.models.load import load_tokenizer
from src.models.size import context
from src.models.template import template_hash
from src.models.trained import ADAPTER, Trained, beside, fingerprint
from src.track.metrics import read_metrics
from src.train.base import Base, find_base
from src.train.checkpoints import Checkpoint, newest
from src.train.fit import METRICS, fit
from src.train.heldout import heldout_loss
from src.train.packing import EXACT, ROUNDED, check_packing, efficiency
from src.train.plot import plot
from src.train.rows import Row, read_rows
from src.train.trainer import make_trainer

if TYPE_CHECKING:
    from trl import SFTTrainer

    from src.train import TrainConfig

FIGURES = "figures.json"


@dataclass(frozen=True)
class Data:
    """The rows, ready for the model."""

    train: list[Row]
    validation: list[Row]


def sft(config: "TrainConfig", run: Run) -> None:
    """Train, or go on training, and write the output."""
    base = find_base(config, run)
    tokenizer = load_tokenizer(base.path)
    longest = min(config.sequence_length, context(base.path) or config.sequence_length)
    data = Data(read_rows(run, tokenizer, "train", longest=longest), read_rows(run, tokenizer, "validation", longest=longest))
    if not data.train:
        reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items()) or "the split is empty"
        raise MlxError(f"no row is left to train on: {reasons}", f"look at {run.ledger.path.name}, or raise train.sequence_length")
    start = perf_counter()
    checkpoint = newest(run.work / "checkpoints")
    if checkpoint is None or not checkpoint.last:
        checkpoint = _fit(config, run, base, data, checkpoint)
    _write(config, run, base, checkpoint, seconds=perf_counter() - start)


def _fit(config: "TrainConfig", run: Run, base: Base, data: Data, checkpoint: Checkpoint | None) -> Checkpoint:
    """Train to the end; return the last checkpoint."""
    trainer = make_trainer(config, run.work, base, data.train, seed=run.seed)
    _note_figures(config, run, base, trainer)
    return fit(config, run, trainer, checkpoint, heldout=_heldout(config, trainer, data.validation))


def _note_figures(config: "TrainConfig", run: Run, base: Base, trainer: "SFTTrainer") -> None:
    """Check the packing, and write down what is known before the training, for a run that goes on later."""
    figures: dict[str, Any] = {
        "trainable_parameters": sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad),
        "sequences": len(trainer.train_dataset),
    }
    if config.packing:
        exact = base.dtype == "fp32" and config.quantization != "int8"
        with trainer.compute_loss_context_manager():
            few = list(trainer.train_dataset.select(range(min(64, len(trainer.train_dataset)))))
            difference = check_packing(trainer.model, trainer.data_collator, few, tolerance=EXACT if exact else ROUNDED)
        share = efficiency(list(trainer.train_dataset), config.sequence_length)
        figures |= {"packing_efficiency": round(share, 4), "packing_difference": difference}
        run.log.info("%d sequences of %d tokens, %.1f %% full", len(trainer.train_dataset), config.sequence_length, 100 * share)
    run.log.info("%s trainable parameters", f"{figures['trainable_parameters']:,}")
    write_text(run.work / FIGURES, json.dumps(figures))


def _heldout(config: "TrainConfig", trainer: "SFTTrainer", rows: list[Row]) -> Callable[[], dict[str, float]] | None:
    if not rows:
        return None

    def measure() -> dict[str, float]:
        with trainer.compute_loss_context_manager():
            loss = heldout_loss(
                trainer.model,
                rows[: config.eval_rows],
                most_tokens=config.micro_batch * config.sequence_length,
                pad=trainer.processing_class.pad_token_id,
            )
        return {"validation_loss": loss}

    return measure


def _write(config: "TrainConfig", run: Run, base: Base, checkpoint: Checkpoint, *, seconds: float) -> None:
    """Write adapter, curves and what the next stages need to know."""
    adapter = run.output / ADAPTER
    adapter.mkdir()
    shutil.copy(checkpoint.folder / "adapter_model.safetensors", adapter)
    settings = json.loads((checkpoint.folder / "adapter_config.json").read_text(encoding="utf-8"))
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()  # a set in PEFT, of another order in each process
    write_text(adapter / "adapter_config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")
    tokenizer = load_tokenizer(base.path)
    tokenizer.save_pretrained(adapter)
    # copies: a kill from here on finds everything where it was
    shutil.copy(run.work / METRICS, run.output)
    if (run.work / "tensorboard").exists():
        shutil.copytree(run.work / "tensorboard", run.output / "tensorboard")
    rows = read_metrics(run.output / METRICS)
    plot(rows, run.output / "loss.png", title=f"{run.name}: {Path(config.model).name}, {method(config)}")
    made = run.input("dataset").manifest
    is_folder = base.kind != "hub"
    trained = Trained(
        base=base.path,
        base_kind=base.kind,
        base_beside=beside(base.path, folder(run.name, run.stage)) if is_folder else None,
        base_fingerprint=fingerprint(Path(base.path)) if is_folder else None,
        task=config.task,
        quantization=config.quantization,
        dtype=base.dtype,
        device="cpu" if base.on_cpu else "cuda",
        template=template_hash(tokenizer),
        system=made.info.get("system") if made else None,
    )
    figures = json.loads((run.work / FIGURES).read_text(encoding="utf-8"))
    run.info |= trained.as_info() | figures | _summary(rows, checkpoint, seconds)


def method(config: "TrainConfig") -> str:
    """How it is trained, in a few words."""
    return f"{config.quantization}, LoRA r={config.lora.r}" if config.lora else "all weights"


def _summary(rows: list[dict[str, float]], checkpoint: Checkpoint, seconds: float) -> dict[str, Any]:
    losses = [row["loss"] for row in rows if "loss" in row]
    measured = [row["validation_loss"] for row in rows if "validation_loss" in row]
    last = next(row for row in reversed(rows) if "tokens" in row)
    return {
        "steps": checkpoint.step,
        "tokens": int(last["tokens"]),
        "tokens_all": int(last["tokens_all"]),
        "loss": sum(losses[-10:]) / len(losses[-10:]),
        "validation_loss": measured[-1] if measured else None,
        "validation_loss_before": measured[0] if measured else None,
        "seconds": round(seconds, 1),
    }
