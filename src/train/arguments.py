"""What every trainer is told, whatever the task."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.train.base import Base

if TYPE_CHECKING:
    from src.train import TrainConfig

_UNPAGED = {"paged_adamw_32bit": "adamw_torch", "paged_ademamix_32bit": "ademamix"}


def arguments(config: "TrainConfig", work: Path, base: Base, *, seed: int) -> dict[str, Any]:
    """Return the keyword arguments of `TrainingArguments`, or of a class made from it."""
    checkpointing = not base.on_cpu if config.gradient_checkpointing == "auto" else config.gradient_checkpointing
    return {
        "output_dir": (work / "checkpoints").as_posix(),
        "per_device_train_batch_size": config.micro_batch,
        "gradient_accumulation_steps": config.accumulation,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "learning_rate": config.rate,
        "lr_scheduler_type": config.scheduler,
        "lr_scheduler_kwargs": dict(config.scheduler_options) or None,
        "warmup_steps": config.warmup,  # below 1 it is read as a share
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": optimizer(config, base),
        "neftune_noise_alpha": config.neftune,
        "torch_compile": config.torch_compile,
        "bf16": base.dtype == "bf16",
        "use_cpu": base.on_cpu,
        "ddp_find_unused_parameters": False,  # looking for them costs time at every step
        "dataloader_pin_memory": not base.on_cpu,
        "gradient_checkpointing": checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if checkpointing else None,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number is an error, not something to smooth over
        "save_steps": config.save_steps,
        "save_total_limit": 3 if config.best else 2,  # the one before stays until this one is whole; so does the best
        "eval_strategy": "no",  # the monitor measures per token, the trainer per batch
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
        "data_seed": seed,
    }


def optimizer(config: "TrainConfig", base: Base) -> str:
    """Name the optimizer; on a CPU there is nothing to page out to, and the plain one does the same."""
    name = config.optimizer
    return _UNPAGED.get(name, name.removeprefix("paged_")) if base.on_cpu else name
