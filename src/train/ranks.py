"""Which of the processes that train together this one is, and sums over all of them."""

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process; 0 is the one that writes."""
    return int(os.environ.get("RANK", "0"))


def summed(values: Sequence[float]) -> list[float]:
    """Add up each value over all processes, in which it is the same call."""
    if world() == 1:
        return list(values)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return [float(each) for each in total]


def gathered(values: list[T]) -> list[T]:
    """Put the lists of all processes together, in each of them."""
    if world() == 1:
        return values
    found: list[list[T]] = [[] for _ in range(world())]
    dist.all_gather_object(found, values)
    return [each for part in found for each in part]


def barrier() -> None:
    """Wait until every process is here."""
    if world() > 1:
        dist.barrier()
