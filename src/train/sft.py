"""Supervised fine-tuning: TRL trains, this hands it checked rows and takes up where a kill left off."""

import json
import math
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.run import Run
from src.models.load import load_tokenizer
from src.models.size import context
from src.train.base import Base, find_base
from src.train.checkpoints import best, newest
from src.train.fit import fit
from src.train.heldout import RowLoss, as_figures, heldout, write_losses
from src.train.output import FIGURES, TRAIN_LOSSES, write_output
from src.train.packing import EXACT, ROUNDED, check_packing, efficiency
from src.train.rows import Row, read_rows
from src.train.trainer import make_trainer, put_weights

if TYPE_CHECKING:
    from trl import SFTTrainer

    from src.train import TrainConfig


def sft(config: "TrainConfig", run: Run) -> None:
    """Train, or go on training, and write the output."""
    base = find_base(config, run)
    tokenizer = load_tokenizer(base.tokenizer)
    longest = min(config.sequence_length, context(base.path) or config.sequence_length)
    train, validation = (read_rows(run, tokenizer, split, longest=longest, too_long=config.too_long) for split in ("train", "validation"))
    if not train:
        raise none_left(run)
    train_rows(config, run, base, train, validation)


def none_left(run: Run) -> MlxError:
    """Why there is nothing to train on."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items()) or "the split is empty"
    return MlxError(f"no row is left to train on: {reasons}", f"look at {run.ledger.path.name}, or raise train.sequence_length")


def train_rows(config: "TrainConfig", run: Run, base: Base, train: list[Row], validation: list[Row]) -> None:
    """Train on rows of tokens and labels, and write the output."""
    start = perf_counter()
    checkpoint = newest(run.work / "checkpoints")
    wanted = run.work / "losses" / TRAIN_LOSSES if config.row_losses == "all" else None
    if checkpoint is None or not checkpoint.last or (wanted and not wanted.exists()):
        trainer = make_trainer(config, run.work, base, train, seed=run.seed)
        measure = _measure(config, trainer)
        if checkpoint is None or not checkpoint.last:
            _note_figures(config, run, base, trainer)
            checkpoint = fit(config, run, trainer, checkpoint, heldout=_heldout(config, run, trainer, measure, validation))
        if wanted:
            put_weights(trainer.model, (best(checkpoint) if config.best else checkpoint).folder)
            write_losses(wanted, measure(train))
    write_output(config, run, base, checkpoint, seconds=perf_counter() - start)


def _note_figures(config: "TrainConfig", run: Run, base: Base, trainer: "SFTTrainer") -> None:
    """Check the packing, and write down what is known before the training, for a run that goes on later."""
    figures: dict[str, Any] = {
        "trainable_parameters": sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad),
        "sequences": len(trainer.train_dataset),
        "attention": base.attention,
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


def _measure(config: "TrainConfig", trainer: "SFTTrainer") -> Callable[[list[Row]], list[RowLoss]]:
    most, pad = config.micro_batch * config.sequence_length, trainer.processing_class.pad_token_id

    def measure(rows: list[Row]) -> list[RowLoss]:
        with trainer.compute_loss_context_manager():
            return heldout(trainer.model, rows, most_tokens=most, pad=pad)

    return measure


def _heldout(
    config: "TrainConfig", run: Run, trainer: "SFTTrainer", measure: Callable[[list[Row]], list[RowLoss]], rows: list[Row]
) -> Callable[[], dict[str, float]] | None:
    if not rows:
        return None

    def look() -> dict[str, float]:
        found = measure(rows[: config.eval_rows])
        write_losses(run.work / "losses" / f"{trainer.state.global_step}.jsonl", found)
        figures = as_figures(found)
        if config.task == "pretrain":
            figures["validation_perplexity"] = math.exp(min(50.0, figures["validation_loss"]))
        return figures

    return look
