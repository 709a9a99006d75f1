"""Three steps on the longest rows, backward pass and optimizer included, that leave nothing behind."""

import gc
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from src.train.rows import IGNORED

if TYPE_CHECKING:
    from transformers import Trainer

STEPS = 3
_COUNTS = ("_metrics", "_total_train_tokens", "_stored_metrics")  # what TRL's trainers sum up as they go


class FullMemoryError(Exception):
    """The memory is full."""


def probe(trainer: "Trainer", micro_batch: int) -> int:
    """Train on the longest rows, `micro_batch` at once.

    Args:
        trainer: Ready to train, not yet begun.
        micro_batch: Sequences at once.

    Returns:
        Bytes allocated at the peak on the GPU; 0 on a CPU.

    Raises:
        FullMemoryError: Where they do not fit.
    """
    on_gpu = trainer.args.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with untouched(trainer):
        try:
            _steps(trainer, longest(trainer, micro_batch * STEPS), micro_batch)
            full = False
        except torch.OutOfMemoryError:
            full = True
        except RuntimeError as error:  # the CPU's allocator has no error of its own
            if "can't allocate memory" not in str(error):
                raise
            full = True
    gc.collect()  # out here, where no traceback holds on to tensors
    if on_gpu:
        torch.cuda.empty_cache()
    if full:
        raise FullMemoryError
    return torch.cuda.max_memory_allocated() if on_gpu else 0


def longest(trainer: "Trainer", count: int) -> list[Mapping[str, Any]]:
    """The `count` rows with the most tokens, the first ones again where there are fewer."""
    rows: Any = trainer.train_dataset
    sizes = [sum(len(value) for value in row.values() if isinstance(value, list)) for row in rows]
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index])[:count]
    return [rows[order[place % len(order)]] for place in range(count)]


def _steps(trainer: "Trainer", rows: list[Mapping[str, Any]], micro_batch: int) -> None:
    """Gradients stay from one step to the next, as they do while they are accumulated."""
    model = trainer.model
    if trainer.args.gradient_checkpointing:  # as the trainer does when it begins
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs)
    model.train()
    optimizer = trainer.create_optimizer()
    for first in range(0, len(rows), micro_batch):
        batch = trainer._prepare_inputs(trainer.data_collator([dict(row) for row in rows[first : first + micro_batch]]))
        learned = (batch["labels"] != IGNORED).sum() if "labels" in batch else None
        with trainer.compute_loss_context_manager(), getattr(trainer, "maybe_activation_offload_context", nullcontext()):
            loss = trainer.compute_loss(model, batch, num_items_in_batch=learned)
        loss.backward()
        optimizer.step()


@contextmanager
def untouched(trainer: "Trainer") -> Iterator[None]:
    """Give everything back as it was: weights, gradients, optimizer, random state, counts."""
    model = trainer.model
    weights = [(weight, weight.detach().to("cpu", copy=True)) for weight in model.parameters() if weight.requires_grad]
    counts = {name: deepcopy(value) for name in _COUNTS if (value := getattr(trainer, name, None)) is not None}
    training, python, numpy = model.training, random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        trainer.optimizer = None
        for name, value in counts.items():
            setattr(trainer, name, value)
        model.zero_grad(set_to_none=True)
        model.train(training)
        with torch.no_grad():
            for weight, before in weights:
                weight.copy_(before)
