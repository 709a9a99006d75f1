"""Pre-train an encoder: tokens are hidden, and it learns to fill them in."""

import json
import math
from collections.abc import Callable, Iterator
from copy import copy
from time import perf_counter
from typing import TYPE_CHECKING, Any

import datasets
import torch
from peft import get_peft_model
from transformers import PrinterCallback, Trainer, TrainingArguments

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.run import Run
from src.models.load import load_tokenizer
from src.train.adapter import adapted
from src.train.arguments import arguments
from src.train.base import Base
from src.train.checkpoints import newest
from src.train.fit import fit
from src.train.heldout import RowLoss, as_figures, frozen, write_losses
from src.train.masking import MEASURED, Masking
from src.train.output import FIGURES, write_output
from src.train.rows import IGNORED, Row
from src.train.trainer import load_base

if TYPE_CHECKING:
    from src.train import TrainConfig


def masked_language_model(config: "TrainConfig", run: Run, base: Base, train: list[Row], validation: list[Row]) -> None:
    """Train on rows whose labels are the numbers of words, and write the output."""
    start = perf_counter()
    checkpoint = newest(run.work / "checkpoints")
    if checkpoint is None or not checkpoint.last:
        trainer = _trainer(config, run, base, train)
        count = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
        write_text(run.work / FIGURES, json.dumps({"trainable_parameters": count, "sequences": len(train), "attention": base.attention}))
        checkpoint = fit(config, run, trainer, checkpoint, heldout=_heldout(config, run, trainer, validation))
    write_output(config, run, base, checkpoint, seconds=perf_counter() - start)


def _trainer(config: "TrainConfig", run: Run, base: Base, rows: list[Row]) -> Trainer:
    datasets.disable_progress_bars()
    tokenizer = load_tokenizer(base.tokenizer)
    if tokenizer.mask_token_id is None:
        raise MlxError(f"the tokenizer of {base.path} has no mask token", "set train.pretrain.objective to causal, or take an encoder")
    torch.manual_seed(run.seed)
    model, peft = adapted(load_base(config, base), config.lora, base)
    if peft:
        peft.task_type = None  # a model that fills in tokens is none of PEFT's tasks, and needs none
        model = get_peft_model(model, peft)
    masking = Masking(tokenizer, share=config.pretrain.mask, whole_words=config.pretrain.whole_words, seed=run.seed)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**arguments(config, run.work, base, seed=run.seed), remove_unused_columns=False),
        train_dataset=datasets.Dataset.from_list(list(_features(rows))),
        data_collator=masking,
        processing_class=tokenizer,
        callbacks=[masking],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _features(rows: list[Row]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        yield {"number": number, "input_ids": list(row.ids), "words": list(row.labels)}


def _heldout(config: "TrainConfig", run: Run, trainer: Trainer, rows: list[Row]) -> Callable[[], dict[str, float]] | None:
    """Measure with the same tokens hidden each time."""
    if not rows:
        return None
    masking = copy(trainer.data_collator)
    masking.epoch = MEASURED
    features = list(_features(rows[: config.eval_rows]))

    def measure() -> dict[str, float]:
        found: list[RowLoss] = []
        with frozen(trainer.model), trainer.compute_loss_context_manager():
            for first in range(0, len(features), config.micro_batch):
                batch = {
                    name: each.to(trainer.model.device) for name, each in masking(features[first : first + config.micro_batch]).items()
                }
                labels = batch.pop("labels")
                logits = trainer.model(**batch).logits.float()
                nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
                counts = (labels != IGNORED).sum(1).tolist()
                found += map(RowLoss, rows[first:], nats.double().sum(1).tolist(), counts)
        write_losses(run.work / "losses" / f"{trainer.state.global_step}.jsonl", found)
        figures = as_figures(found)
        return {**figures, "validation_perplexity": math.exp(min(50.0, figures["validation_loss"]))}

    return measure
