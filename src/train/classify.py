"""Train a classifier: LoRA and a head on a decoder, or all weights of an encoder; it takes up where a kill left off."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from src.core.errors import MlxError
from src.core.run import Run
from src.models import class_scores
from src.models.classifier import LoadedClassifier
from src.models.load import load_tokenizer
from src.models.load_classifier import save_head_config
from src.models.size import context
from src.track import Log
from src.track.metrics import Metrics
from src.train.base import Base
from src.train.checkpoints import Checkpoint, MarkWhole, newest
from src.train.class_base import find_class_base
from src.train.class_data import Data
from src.train.class_loss import Loss, class_loss, class_weights
from src.train.class_monitor import Best, ClassMonitor
from src.train.class_output import METRICS, measured, write
from src.train.class_rows import Reading, class_counts, class_names, read_class_rows, text_alone
from src.train.class_trainer import make_class_trainer
from src.train.interrupt import Interrupt

if TYPE_CHECKING:
    from transformers import Trainer

    from src.train import TrainConfig


def classify(config: "TrainConfig", run: Run) -> None:
    """Train, or go on training, and write the output."""
    text_alone(run.input("dataset").manifest)
    labels = class_names(run, config.classify.labels)
    base = find_class_base(config, run)
    data = _read(config, run, base, labels)
    start = perf_counter()
    checkpoint = newest(run.work / "checkpoints")
    if checkpoint is None or not checkpoint.last:
        checkpoint = _fit(config, run, base, data, checkpoint)
    write(config, run, base, data, checkpoint, seconds=perf_counter() - start)


def _read(config: "TrainConfig", run: Run, base: Base, labels: tuple[str, ...]) -> Data:
    tokenizer = load_tokenizer(base.path)
    longest = min(config.sequence_length, context(base.path) or config.sequence_length, tokenizer.model_max_length)
    reading = Reading(tokenizer, labels, longest, config.classify.too_long)
    rows = {split: read_class_rows(run, reading, split) for split in ("train", "validation")}
    for split, found in rows.items():
        if not found:
            reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items()) or "the split is empty"
            raise MlxError(
                f"no row of {split} is left: {reasons}",
                f"look at {run.ledger.path.name}; build.splits.{split} sets its share, and the best state is chosen by validation",
            )
    counts = class_counts(rows["train"], len(labels))
    run.log.info("training rows: %s", ", ".join(f"{label} {count:,}" for label, count in zip(labels, counts, strict=True)))
    return Data(reading, rows["train"], rows["validation"], class_weights(counts, labels, config.classify.weights))


def _fit(config: "TrainConfig", run: Run, base: Base, data: Data, checkpoint: Checkpoint | None) -> Checkpoint:
    """Train to the end; return the last checkpoint."""
    done = checkpoint.step if checkpoint else 0
    interrupt = Interrupt()
    loss = class_loss(data.weights, config.classify.label_smoothing)
    trainer = make_class_trainer(config, run.work, base, data.reading.tokenizer, data.train, data.labels, loss, seed=run.seed)
    trainable = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    run.log.info("%s trainable parameters", f"{trainable:,}")
    metrics = Metrics(run.work / METRICS, upto=done)
    opened = (tracker.open(run.work, upto=done) for tracker in config.track)
    logs: list[Log] = [metrics, *(log for log in opened if log)]
    monitor = ClassMonitor(
        logs,
        seen=(metrics.last.get("tokens", 0), metrics.last.get("tokens_all", 0)),
        scored=lambda: _score(config, trainer, base, data, loss),
        history=measured(run.work),
        best=Best(run.work, lambda place: _save(trainer.model, place), upto=done),
        settings=config.classify,
        eval_steps=config.eval_steps,
        log_steps=config.log_steps,
        interrupt=interrupt,
    )
    trainer.add_callback(MarkWhole(lambda: monitor.spent))
    trainer.add_callback(monitor)
    trainer.model.register_forward_pre_hook(monitor.count, with_kwargs=True)
    if checkpoint:
        run.log.info("going on from step %d", checkpoint.step)
    try:
        with interrupt.watched():
            trainer.train(resume_from_checkpoint=checkpoint.folder.as_posix() if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise MlxError(
            f"the GPU's memory is full with train.micro_batch {config.micro_batch}",
            "lower train.micro_batch or train.sequence_length, or set train.gradient_checkpointing to true",
        ) from error
    finally:
        for log in logs:
            log.close()
    found = newest(run.work / "checkpoints")
    if found is None or not found.last:
        run.log.info("stopped after step %d: the same command goes on from there", found.step if found else 0)
        raise KeyboardInterrupt
    return found


def _score(config: "TrainConfig", trainer: "Trainer", base: Base, data: Data, loss: Loss) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures on the validation split; and its confusion matrix."""
    reading, rows = data.reading, data.validation[: config.eval_rows]
    model = LoadedClassifier(trainer.model, reading.tokenizer, reading.labels, reading.longest, reading.too_long, base.dtype == "bf16")
    logits = model.logits([row.ids for row in rows], batch_size=config.micro_batch)
    true, predicted = [row.label for row in rows], np.argmax(logits, axis=1).tolist()
    counts = class_scores.tallies(true, predicted, len(data.labels)).sum(0)
    figures = {
        "loss": float(loss(torch.tensor(logits), torch.tensor(true))),
        "accuracy": float(class_scores.accuracy(counts)),
        "macro_f1": float(class_scores.macro_f1(counts)),
        "mcc": float(class_scores.mcc(counts)),
    }
    by_class = zip(data.labels, class_scores.f1(counts), class_scores.precision(counts), class_scores.recall(counts), strict=True)
    for label, *values in by_class:
        figures |= {f"{name}/{label}": float(value) for name, value in zip(("f1", "precision", "recall"), values, strict=True)}
    return figures, {"confusion": class_scores.confusion(true, predicted, len(data.labels))}


def _save(model: Any, place: Path) -> None:
    """Save what was trained, with the config of the head."""
    model.save_pretrained(place)
    save_head_config(model, place)
