"""Build the trainer of a classifier: base, head and adapter, and batches that are padded on the right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
from peft import get_peft_model
from transformers import PrinterCallback, Trainer, TrainingArguments

from src.models.class_logits import padded
from src.models.load_classifier import head_name, load_classifier, pad_of
from src.train.adapter import new_adapter
from src.train.arguments import arguments
from src.train.base import Base
from src.train.class_data import Data
from src.train.class_loss import Loss

if TYPE_CHECKING:
    from src.train import TrainConfig

NOT_TEXT = r".*(vision|image|audio|multi_modal).*"
"""Parts of a base that see no text: an adapter there would never learn."""


def make_class_trainer(config: "TrainConfig", work: Path, base: Base, data: Data, loss: Loss, *, seed: int) -> Trainer:
    """Load the base and put a fresh head on it, with an adapter or all of it to be trained; the same for the same seed."""
    pad = pad_of(data.reading.tokenizer)
    torch.manual_seed(seed)  # of the head
    model = load_classifier(
        base.path,
        labels=data.labels,
        pad=pad,
        quantization=config.quantization,
        dtype=base.dtype if config.lora else "fp32",  # what is trained is kept in fp32, and computed with in bf16 where that is asked for
        device=base.device,
    )
    if config.lora:
        settings = new_adapter(config.lora, model, "SEQ_CLS")
        settings.modules_to_save = sorted({*config.lora.modules_to_save, head_name(model)})
        settings.exclude_modules = NOT_TEXT
        model = get_peft_model(model, settings)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**arguments(config, work, base, seed=seed), remove_unused_columns=False, label_names=["labels"]),
        train_dataset=datasets.Dataset.from_dict(
            {"input_ids": [row.ids for row in data.train], "labels": [row.label for row in data.train]}
        ),
        data_collator=_Collator(pad),
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
