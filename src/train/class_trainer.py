"""Build the trainer of a classifier: base, head and adapter, and batches that are padded on the right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments

from src.models.class_logits import padded
from src.models.load_classifier import head_name, load_classifier, pad_of
from src.train.base import Base
from src.train.class_loss import Loss
from src.train.class_rows import ClassRow
from src.train.trainer import adapter

if TYPE_CHECKING:
    from src.train import TrainConfig

NOT_TEXT = r".*(vision|image|audio|multi_modal).*"
"""Parts of a base that see no text: an adapter there would never learn."""


def make_class_trainer(
    config: "TrainConfig",
    work: Path,
    base: Base,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[ClassRow],
    labels: tuple[str, ...],
    loss: Loss,
    *,
    seed: int,
) -> Trainer:
    """Load the base and put a fresh head on it, with an adapter or all of it to be trained; the same for the same seed."""
    torch.manual_seed(seed)  # of the head
    model = load_classifier(
        base.path,
        labels=labels,
        pad=pad_of(tokenizer),
        quantization=config.quantization,
        dtype=base.dtype if config.lora else "fp32",  # what is trained is kept in fp32, and computed with in bf16 where that is asked for
        device=base.device,
    )
    if config.lora:
        settings = adapter(config.lora, "SEQ_CLS")
        settings.modules_to_save = [head_name(model)]
        settings.exclude_modules = NOT_TEXT
        model = get_peft_model(model, settings)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    trainer = Trainer(
        model=model,
        args=_arguments(config, work, base, seed),
        train_dataset=[{"input_ids": row.ids, "labels": row.label} for row in rows],
        data_collator=_Collator(pad_of(tokenizer)),
        compute_loss_func=loss,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


class _Collator:
    """Makes a batch of rows."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        return {**padded([row["input_ids"] for row in rows], self.pad), "labels": torch.tensor([row["labels"] for row in rows])}


def _arguments(config: "TrainConfig", work: Path, base: Base, seed: int) -> TrainingArguments:
    checkpointing = not base.on_cpu if config.gradient_checkpointing == "auto" else config.gradient_checkpointing
    return TrainingArguments(
        output_dir=(work / "checkpoints").as_posix(),
        per_device_train_batch_size=config.micro_batch,
        gradient_accumulation_steps=config.accumulation,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.scheduler,
        warmup_steps=config.warmup,  # below 1 it is read as a share
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=config.optimizer.removeprefix("paged_") if base.on_cpu else config.optimizer,
        bf16=base.dtype == "bf16",
        use_cpu=base.on_cpu,
        dataloader_pin_memory=not base.on_cpu,
        gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number is an error, not something to smooth over
        save_steps=config.save_steps,
        save_total_limit=2,  # the one before stays until this one is whole
        eval_strategy="no",  # the monitor measures
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )
