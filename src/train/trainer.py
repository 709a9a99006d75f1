"""Build TRL's trainer on rows that are tokens and labels already, and see that it loses none of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from peft import LoraConfig
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from src.core.errors import MlxError
from src.models.load import load
from src.train.base import Base
from src.train.lora import Lora
from src.train.rows import Row, as_columns

if TYPE_CHECKING:
    from src.train import TrainConfig


def make_trainer(config: "TrainConfig", work: Path, base: Base, rows: list[Row], *, seed: int) -> SFTTrainer:
    """Load the base, put a fresh adapter on it and pack the rows."""
    datasets.disable_progress_bars()
    loaded = load(base.path, quantization=config.quantization, dtype=base.dtype, device=base.device)
    if config.lora:
        _must_have(loaded.model, config.lora.targets)
    trainer = SFTTrainer(
        model=loaded.model,
        args=_arguments(config, work, base, seed),
        train_dataset=datasets.Dataset.from_dict(as_columns(rows)),
        processing_class=loaded.tokenizer,
        peft_config=adapter(config.lora) if config.lora else None,
    )
    trainer.remove_callback(PrinterCallback)
    _none_lost(trainer, rows, packing=config.packing)
    # TRL casts the adapter of a quantised model to bf16, in which most updates of a usual learning rate are rounded away,
    # and a checkpoint is read back as fp32: another run than the one that was interrupted
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return trainer


def adapter(lora: Lora, task_type: str = "CAUSAL_LM") -> LoraConfig:
    """What PEFT has to make."""
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        modules_to_save=list(lora.modules_to_save) or None,
        task_type=task_type,
    )


def _must_have(model: Any, targets: str | tuple[str, ...]) -> None:
    """Fail where a projection that is to be adapted is none of the model's."""
    there = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    if not isinstance(targets, str) and (missing := [each for each in targets if each not in there]):
        raise MlxError(f"{type(model).__name__} has no {', '.join(missing)}", "set train.lora.targets to all-linear")


def _arguments(config: "TrainConfig", work: Path, base: Base, seed: int) -> SFTConfig:
    checkpointing = not base.on_cpu if config.gradient_checkpointing == "auto" else config.gradient_checkpointing
    return SFTConfig(
        output_dir=(work / "checkpoints").as_posix(),
        # rows come as tokens and labels, none over the limit: there is nothing for TRL to prepare, cut or drop but to pack them
        dataset_kwargs={"skip_prepare_dataset": not config.packing},
        max_length=config.sequence_length if config.packing else None,
        packing=config.packing,
        packing_strategy="bfd",
        per_device_train_batch_size=config.micro_batch,
        gradient_accumulation_steps=config.accumulation,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.scheduler,
        warmup_steps=config.warmup,  # below 1 it is read as a share
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        # on a CPU there is nothing to page out to
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
        eval_strategy="no",  # the monitor measures per token, the trainer per batch
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )


def _none_lost(trainer: SFTTrainer, rows: list[Row], *, packing: bool) -> None:
    """Every row and every token that went into the trainer is in its dataset."""
    dataset = trainer.train_dataset
    count = sum(map(len, dataset["seq_lengths"])) if packing else len(dataset)
    found = (count, sum(map(len, dataset["input_ids"])))
    expected = (len(rows), sum(len(row.ids) for row in rows))
    if found != expected:
        raise RuntimeError(f"of {expected} rows and tokens, {found} are left in the trainer's dataset")
