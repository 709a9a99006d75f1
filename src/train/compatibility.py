"""Say at once which settings of a training do not go together, or make something that cannot be served."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.train import TrainConfig

VLLM_RANK = 512
"""Largest rank vLLM 0.32 serves (vllm/config/lora.py, MaxLoRARanks)."""


def conflicts(config: "TrainConfig") -> Iterator[str]:
    """Yield each conflict as what is wrong, why, and the way out."""
    lora = config.lora
    if lora is None:
        if config.quantization != "none":
            yield f"lora: null trains all weights, and {config.quantization} ones cannot be: set quantization to none"
        return
    if lora.r > VLLM_RANK:
        yield f"lora.r {lora.r} is more than vLLM serves ({VLLM_RANK}): lower it"
    if lora.dora:
        yield "lora.dora: vLLM serves no DoRA: set it to false, or lora.rslora to true for a better start of a high rank"
    if lora.modules_to_save:
        yield "lora.modules_to_save: vLLM serves low-rank weights only: leave it empty"
