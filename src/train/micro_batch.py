"""`micro_batch: auto`: a number from the plan, proven by a probe before the training, the same one when it goes on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.run import Run
from src.train.base import place
from src.train.planning.estimate import Job
from src.train.planning.gpu import GPUS, Gpu, gpu_like, this_cpu
from src.train.planning.histogram import read_histogram
from src.train.planning.options import micro_batches, quickest
from src.train.planning.plan import shape_for
from src.train.planning.setting import Setting
from src.train.probe import FullMemoryError, probe

if TYPE_CHECKING:
    from transformers import Trainer

    from src.train import TrainConfig

FILE, KEY = "micro_batch.json", "micro_batch"
_UNKNOWN = 4  # where the plan cannot tell: the probe takes it from there
_ROOM = 0.9  # share of the free memory that is planned with


def settled(config: "TrainConfig", run: Run) -> "TrainConfig":
    """Replace `auto` by what an earlier start of this run took, else by what the plan finds fastest of what fits."""
    if config.micro_batch != "auto":
        return config
    note = _noted(run)
    size = int(note[KEY]) if note else _planned(config, run)
    _note(run, size, proven=bool(note and note["proven"]))
    return config.model_copy(update={KEY: size})


def prove(config: "TrainConfig", run: Run, trainer: "Trainer") -> None:
    """Try the number that `auto` came to with three steps on the longest rows; on a full memory take the next smaller one.

    The effective batch stays. Random state, weights, optimizer and counts are as before.

    Raises:
        MlxError: Where not even one sequence fits.
    """
    note = _noted(run)
    if note is None or note["proven"]:
        return
    size = int(note[KEY])
    while True:
        try:
            peak = probe(trainer, size)
            break
        except FullMemoryError:
            run.log.info("micro_batch %d: the memory is full", size)
        if size == 1:
            raise MlxError(
                f"the memory is full with one sequence of {config.sequence_length} tokens",
                "lower train.sequence_length, or set train.gradient_checkpointing=true; `mlx plan` shows what fits",
            )
        size = max(each for each in _sizes(config) if each < size)
    # the trainer reads its arguments when it starts
    trainer.args.per_device_train_batch_size = size
    trainer.args.gradient_accumulation_steps = config.effective_batch // size
    trainer._train_batch_size = size
    _note(run, size, proven=True)
    told = f", {peak / 1e9:.1f} GB at the peak" if peak else ""
    run.log.info("micro_batch: auto is %d × %d: three steps on the longest rows fit%s", size, config.effective_batch // size, told)


def _planned(config: "TrainConfig", run: Run) -> int:
    device = place(config)
    on_cpu = device == "cpu"
    setting = Setting.of(config, on_cpu=on_cpu)
    try:
        rows = read_histogram(run.input("dataset").path, config.sequence_length)
        job = Job(shape_for(config), _card(device), rows, config.epochs, config.max_steps)
        return quickest(job, setting).setting.micro_batch
    except MlxError as error:
        run.log.info("micro_batch: auto has no plan to start from: %s", error)
        return max(size for size in _sizes(config) if size <= _UNKNOWN)


def _card(device: str) -> Gpu:
    """This machine's, with the memory that is free now."""
    if device == "cpu":
        card, free = this_cpu(), psutil.virtual_memory().available
    else:
        card = gpu_like(torch.cuda.get_device_name(device)) or GPUS["a100-80"]
        free = torch.cuda.mem_get_info(device)[0]
    return Gpu(card.name, free * _ROOM, card.tflops, card.bandwidth, card.price)


def _sizes(config: "TrainConfig") -> list[int]:
    return micro_batches(config.effective_batch)


def _noted(run: Run) -> dict[str, Any] | None:
    file: Path = run.work / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _note(run: Run, size: int, *, proven: bool) -> None:
    write_text(run.work / FILE, json.dumps({KEY: size, "proven": proven}))
    run.info[KEY] = size
