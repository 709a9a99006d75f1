"""One way to train, reckoned through: memory, speed, steps, hours."""

import math
from dataclasses import dataclass

from src.train.planning.filling import packed, padding_share
from src.train.planning.gpu import Gpu
from src.train.planning.histogram import Histogram
from src.train.planning.memory import Memory, memory
from src.train.planning.setting import Setting
from src.train.planning.shape import Shape
from src.train.planning.speed import Speed, speed


@dataclass(frozen=True)
class Job:
    """What is trained on what, for how long: the same for every way to train it."""

    shape: Shape
    gpu: Gpu
    rows: Histogram
    epochs: float
    max_steps: int | None


@dataclass(frozen=True)
class Estimate:
    """What a setting comes to."""

    setting: Setting
    memory: Memory
    speed: Speed
    sequences: int
    """In an epoch."""
    full: float
    """Share of the places that hold a token."""
    steps: int
    seconds: float
    """By the clock; of several processes without what they tell each other."""
    fits: bool


def estimate(job: Job, setting: Setting) -> Estimate:
    """Reckon `setting` through."""
    rows = job.rows.upto(setting.sequence)
    found = memory(job.shape, setting)
    if setting.packing:
        sequences = packed(rows.lengths, setting.sequence)
        full = rows.tokens / (sequences * setting.sequence) if sequences else 1.0
    else:
        sequences, full = rows.rows, 1 - padding_share(rows, setting.rows)
    pace = speed(job.shape, setting, job.gpu, rows.context)
    steps = job.max_steps or math.ceil(math.ceil(sequences / setting.effective_batch) * job.epochs)
    places = rows.tokens / full / max(1, sequences) * (2 if setting.task == "dpo" else 1)
    seconds = steps * setting.effective_batch * places / pace.tokens_per_second / setting.processes
    return Estimate(setting, found, pace, sequences, full, steps, seconds, found.total <= job.gpu.memory)
