"""Writes weights as safetensors while they come, in files of bounded size, as `from_pretrained` reads them."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file

LIMIT = 4_000_000_000
"""Bytes in a file, and so about what is held in memory at once."""
INDEX = "model.safetensors.index.json"


def write_shards(weights: Iterable[tuple[str, torch.Tensor]], folder: Path, *, limit: int = LIMIT) -> int:
    """Write `weights` to `folder`; return how many parameters they hold."""
    parts: list[list[str]] = []
    waiting: dict[str, torch.Tensor] = {}
    size = total = count = 0

    def flush() -> None:
        nonlocal size
        save_file(waiting, folder / _part(len(parts)), metadata={"format": "pt"})
        parts.append(list(waiting))
        waiting.clear()
        size = 0

    for name, weight in weights:
        if waiting and size + weight.nbytes > limit:
            flush()
        waiting[name] = weight
        size, total, count = size + weight.nbytes, total + weight.nbytes, count + weight.numel()
    flush()
    names = [f"model-{number:05}-of-{len(parts):05}.safetensors" for number in range(1, len(parts) + 1)]
    if len(parts) == 1:
        names = ["model.safetensors"]
    for number, name in enumerate(names):
        (folder / _part(number)).replace(folder / name)
    if len(parts) > 1:
        where = {weight: name for name, part in zip(names, parts, strict=True) for weight in part}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return count


def _part(number: int) -> str:
    return f"part-{number:05}.safetensors"
