"""Train with a trainer that is ready: from the last checkpoint on, watched, noted, and stopped well."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from transformers import Trainer

from src.core.errors import MlxError
from src.core.run import Run
from src.track import Log
from src.track.metrics import Metrics, read_metrics
from src.train.checkpoints import Checkpoint, MarkWhole, newest
from src.train.interrupt import Interrupt
from src.train.judge import Judge
from src.train.micro_batch import prove
from src.train.monitor import Monitor

if TYPE_CHECKING:
    from src.train import TrainConfig

METRICS = "metrics.jsonl"


def fit(
    config: "TrainConfig", run: Run, trainer: Trainer, checkpoint: Checkpoint | None, *, heldout: Callable[[], Mapping[str, float]] | None
) -> Checkpoint:
    """Train to the end; return the last checkpoint.

    Args:
        config: The section.
        run: The run; checkpoints, metrics and curves go to its work folder.
        trainer: Made anew, its output folder `run.work / "checkpoints"`.
        checkpoint: Where to go on from; None to begin.
        heldout: Measures the model on rows it does not learn: `validation_loss`, and whatever else starts with `validation_`.

    Raises:
        KeyboardInterrupt: Where someone asked to stop; a checkpoint is there.
        MlxError: Where the GPU's memory or the disk is full.
    """
    if config.best and heldout is None:
        raise MlxError(
            f"train.best {config.best}: the validation split is empty", "build one (build.splits.validation), or unset train.best"
        )
    if checkpoint is None:
        prove(config, run, trainer)
    interrupt = Interrupt()
    done = checkpoint.step if checkpoint else 0
    metrics = Metrics(run.work / METRICS, upto=done)
    opened = (tracker.open(run.work, upto=done) for tracker in config.track)
    logs: list[Log] = [metrics, *(log for log in opened if log)]
    judge = Judge(config.best, patience=config.patience, before=read_metrics(run.work / METRICS)) if config.best else None
    monitor = Monitor(
        logs,
        seen=(metrics.last.get("tokens", 0), metrics.last.get("tokens_all", 0)),
        heldout=heldout,
        eval_steps=config.eval_steps,
        log_steps=config.log_steps,
        interrupt=interrupt,
        judge=judge,
    )
    trainer.add_callback(MarkWhole(judge))
    trainer.add_callback(monitor)
    trainer.model.register_forward_pre_hook(monitor.count, with_kwargs=True)
    if checkpoint:
        run.log.info("going on from step %d", checkpoint.step)
    try:
        with interrupt.watched():
            trainer.train(resume_from_checkpoint=checkpoint.folder.as_posix() if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(config) from error
    finally:
        for log in logs:
            log.close()
    found = newest(run.work / "checkpoints")
    if found is None or not found.last:
        run.log.info("stopped after step %d: the same command goes on from there", found.step if found else 0)
        raise KeyboardInterrupt
    return found


def _out_of_memory(config: "TrainConfig") -> MlxError:
    smaller = f"train.micro_batch to {config.micro_batch // 2}" if config.micro_batch > 1 else "train.sequence_length"
    return MlxError(
        f"the GPU's memory is full with train.micro_batch {config.micro_batch} and train.sequence_length {config.sequence_length}",
        f"lower {smaller}, set train.gradient_checkpointing to true or train.optimizer to paged_adamw_8bit",
    )
