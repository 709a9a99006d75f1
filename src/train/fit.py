"""Train with a trainer that is ready: from the last checkpoint on, watched, noted, and stopped well."""

import errno
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from transformers import Trainer

from src.core.config import essence
from src.core.errors import MlxError
from src.core.run import Run
from src.core.stage import folder
from src.track import Log
from src.track.metrics import Metrics, read_metrics
from src.train.checkpoints import Checkpoint, MarkWhole, newest
from src.train.interrupt import Interrupt
from src.train.judge import Judge
from src.train.micro_batch import prove
from src.train.monitor import Monitor
from src.train.ranks import barrier, rank, world
from src.train.sharding import shard
from src.train.speed import utilisation
from src.train.together import WORKER

if TYPE_CHECKING:
    from src.train import TrainConfig

METRICS, CHECKPOINTS = "metrics.jsonl", "checkpoints"
_FULL = ("No space left", "os error 28", "StorageFull", "file write failed", "failed writing file", "unexpected pos")


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
        SystemExit: At the end of a process that `together` started.
        MlxError: Where the GPU's memory or the disk is full.
    """
    if config.best and heldout is None:
        raise MlxError(
            f"train.best {config.best}: the validation split is empty", "build one (build.splits.validation), or unset train.best"
        )
    if checkpoint is None:
        prove(config, run, trainer)
    if world() > 1 and config.lora is None:
        shard(trainer)
    done = checkpoint.step if checkpoint else 0
    metrics = Metrics(run.work / METRICS, upto=done) if rank() == 0 else None
    logs = _open(config, run, metrics, done) if metrics else []
    barrier()
    _say_uneven(config, run, trainer)
    interrupt = Interrupt()
    before = read_metrics(run.work / METRICS)
    judge = Judge(config.best, patience=config.patience, before=before, watch=config.classify.watch) if config.best else None
    monitor = Monitor(
        config,
        logs,
        before=metrics.last if metrics else {},
        heldout=heldout,
        mfu=utilisation(config, trainer.model, trainer.train_dataset),
        interrupt=interrupt,
        judge=judge,
    )
    trainer.add_callback(MarkWhole(judge))
    trainer.add_callback(monitor)
    trainer.model.register_forward_pre_hook(monitor.count, with_kwargs=True)
    if checkpoint:
        run.log.info("going on from step %d", checkpoint.step)
    output = None
    try:
        with interrupt.watched():
            trainer.train(resume_from_checkpoint=checkpoint.folder.as_posix() if checkpoint else None)
        output = folder(run.name, run.stage).as_posix() if not interrupt.asked else None
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(config) from error
    except Exception as error:
        raise _disk_full(run, error) or error from error
    finally:
        _close(logs, output, run)
    found = newest(run.work / CHECKPOINTS)
    if found is None or not found.last:
        run.log.info("stopped after step %d: the same command goes on from there", found.step if found else 0)
        raise KeyboardInterrupt
    if WORKER in os.environ:
        raise SystemExit(0)  # the process that started it writes the output
    return found


def _say_uneven(config: "TrainConfig", run: Run, trainer: Trainer) -> None:
    """Say how many sequences an epoch shows twice: processes can only step together, each with a batch as large as the others'."""
    count, together = len(trainer.train_dataset), int(config.micro_batch) * world()
    if world() > 1 and (again := -count % together):
        run.log.info("%d of %d sequences are seen twice in each epoch, to fill the last batch of %d processes", again, count, world())


def _open(config: "TrainConfig", run: Run, metrics: Metrics, done: int) -> list[Log]:
    settings = {"train": essence(config), "seed": run.seed}
    opened = (tracker.open(run.work, upto=done, project=run.name, settings=settings) for tracker in config.track)
    return [metrics, *(log for log in opened if log)]


def _close(logs: list[Log], output: str | None, run: Run) -> None:
    """Close all; what one of them cannot write any more is no reason to lose the training, nor to hide why it ended."""
    for log in logs:
        try:
            log.close(output)
        except Exception as error:
            run.log.warning("%s: %s", type(log).__name__, error)


def _disk_full(run: Run, error: Exception) -> MlxError | None:
    """Say that the disk is full, where `error` comes from that; free what half a checkpoint takes."""
    text = str(error)  # safetensors and PyTorch have errors of their own for it
    errno_ = getattr(error, "errno", None)
    if errno_ not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and not any(sign in text for sign in _FULL):
        return None
    found = newest(run.work / CHECKPOINTS)
    return MlxError(
        f"the disk is full ({run.work})", f"free some space, then the same command goes on from step {found.step if found else 0}"
    )


def _out_of_memory(config: "TrainConfig") -> MlxError:
    smaller = f"train.micro_batch to {config.micro_batch // 2}" if config.micro_batch > 1 else "train.sequence_length"
    return MlxError(
        f"the GPU's memory is full with train.micro_batch {config.micro_batch} and train.sequence_length {config.sequence_length}",
        f"lower {smaller}, set train.gradient_checkpointing to true or train.optimizer to paged_adamw_8bit",
    )
