"""Other ways to train the same, those that fit first and the quickest of them on top."""

from collections.abc import Iterator
from dataclasses import replace

from src.train.planning.estimate import Estimate, Job, estimate
from src.train.planning.setting import Setting

_MOST = 64  # sequences at once


def options(job: Job, setting: Setting) -> list[Estimate]:
    """For each way to keep the weights, to checkpoint and to cut sequences, the micro-batch that trains fastest, fastest first.

    The effective batch stays in tokens: half the sequence, twice the sequences.
    """
    found = [quickest(job, group) for group in _groups(job, setting)]
    return sorted(found, key=lambda each: (not each.fits, each.seconds if each.fits else each.memory.total))


def quickest(job: Job, setting: Setting) -> Estimate:
    """The quickest micro-batch that fits, or the smallest if none does; a larger one has to be worth it by a hundredth."""
    sizes = micro_batches(max(1, setting.effective_batch // setting.processes))
    best = estimate(job, replace(setting, micro_batch=sizes[0]))
    for size in sizes[1:]:
        each = estimate(job, replace(setting, micro_batch=size))
        if not each.fits:
            break
        if each.seconds < best.seconds * 0.99:
            best = each
    return best


def micro_batches(effective_batch: int) -> list[int]:
    """The micro-batches that divide the effective batch, smallest first."""
    return [size for size in range(1, min(effective_batch, _MOST) + 1) if effective_batch % size == 0]


def _groups(job: Job, setting: Setting) -> Iterator[Setting]:
    for weights in _weights(setting):
        for checkpointing in (False, True):
            for sequence in _sequences(job, setting):
                batch = max(1, setting.effective_batch * setting.sequence // sequence) if setting.packing else setting.effective_batch
                yield replace(setting, quantization=weights, checkpointing=checkpointing, sequence=sequence, effective_batch=batch)


def _weights(setting: Setting) -> tuple[str, ...]:
    return ("none",) if setting.full else tuple(dict.fromkeys(("nf4", "none", setting.quantization)))


def _sequences(job: Job, setting: Setting) -> list[int]:
    """The sequence that is asked for, and shorter ones that lose no row."""
    shorter = (size for size in (4096, 2048, 1024) if size < setting.sequence)
    return [setting.sequence, *(size for size in shorter if job.rows.real and job.rows.longest <= size)]
