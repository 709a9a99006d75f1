"""Tokens per second, from the nearest speed that someone measured: each figure names the row it rests on, or says `unmeasured`."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from src.core.errors import MlxError
from src.train.planning.architecture import shape_of
from src.train.planning.flops import attention_flops, recomputed_flops, training_flops
from src.train.planning.gpu import GPUS, Gpu
from src.train.planning.memory import masked
from src.train.planning.setting import Setting
from src.train.planning.shape import Shape

MEASURED = Path(__file__).with_name("measured.json")
_UNMEASURED = 0.35  # share of a card's arithmetic, where nothing near was measured
_HALF = 512  # tokens in a pass at which a card does half of what it can: an assumption
_MOST = 0.9  # of the peak: no row is believed to have reached more


@dataclass(frozen=True)
class Speed:
    """What a card does a second."""

    tokens_per_second: float
    """Places of sequences, padding included."""
    mfu: float
    """Share of the card's arithmetic that goes into what counts; recomputing does not."""
    rests_on: str


def speed(shape: Shape, setting: Setting, gpu: Gpu, context: float) -> Speed:
    """Reckon the speed of a setting on a card.

    Args:
        shape: The model.
        setting: How it is trained.
        gpu: The card.
        context: Mean length of the rows that tokens stand in.
    """
    lora = None if setting.full else shape.lora_parameters(setting.rank, setting.targets)
    counted = training_flops(shape, context, lora=lora, reference=setting.reference)
    done = counted + _extra(shape, setting, context)
    share, rests_on = _share(shape, setting, gpu)
    busy = share * setting.tokens / (setting.tokens + _HALF)
    rate = gpu.tflops * 1e12 * busy / done
    return Speed(rate, rate * counted / (gpu.tflops * 1e12), rests_on)


def _extra(shape: Shape, setting: Setting, context: float) -> float:
    """Work a token that counts in no utilisation: blocks computed twice, and scores that a mask then hides."""
    passes = 3 + setting.checkpointing
    hidden = attention_flops(shape, 2 * setting.row) - attention_flops(shape, context) if masked(setting) and not shape.encoder else 0.0
    return passes * max(0.0, hidden) + (recomputed_flops(shape, context) if setting.checkpointing else 0)


def _share(shape: Shape, setting: Setting, gpu: Gpu) -> tuple[float, str]:
    """Share of the card's arithmetic that is put to work, and whose figure that is."""
    method = "full" if setting.full else "lora" if setting.quantization == "none" else setting.quantization
    exact = [row for row in rows() if row["method"] == method and GPUS.get(row["gpu"]) == gpu]
    if exact:
        row = _nearest(exact, shape)
        return _reached(row), _told(row)
    plain = [row for row in rows() if row["method"] == "lora" and GPUS.get(row["gpu"]) == gpu]
    if plain and method == "nf4":
        row, ratio = _nearest(plain, shape), median(each["ratio"] for each in measured()["nf4_to_lora"])
        return _reached(
            row
        ) * ratio, f"{_told(row)} × {ratio:.2f}, the median of {len(measured()['nf4_to_lora'])} published QLoRA/LoRA ratios"
    if plain:
        row = _nearest(plain, shape)
        return _reached(row), f"{_told(row)}; {method} unmeasured"
    share = _UNMEASURED * (_unpacking() if setting.quantization == "nf4" else 1.0)
    return share, f"unmeasured: no figure for {gpu.name} is at hand, {share:.0%} of its peak assumed"


def _unpacking() -> float:
    """How fast QLoRA is against LoRA with whole weights."""
    return float(median(each["ratio"] for each in measured()["nf4_to_lora"]))


def _nearest(found: list[dict[str, Any]], shape: Shape) -> dict[str, Any]:
    """Our own before others', then the model most like it in size."""
    return min(found, key=lambda row: (not row["source"].startswith("mlx "), abs(_shape(row).parameters - shape.parameters)))


def _reached(row: dict[str, Any]) -> float:
    """Share of its card's arithmetic that a measured run put to work, recomputing included."""
    shape, context = _shape(row), float(row["sequence"])
    lora = shape.lora_parameters(row["rank"]) if row["rank"] else None
    work = training_flops(shape, context, lora=lora) + (recomputed_flops(shape, context) if row["checkpointing"] else 0)
    return min(_MOST, float(row["tokens_per_second"]) * work / (GPUS[row["gpu"]].tflops * 1e12))


def _told(row: dict[str, Any]) -> str:
    return (
        f"{row['tokens_per_second']:,} tok/s, {row['model'].rsplit('/', 1)[-1]} {row['method']}, {GPUS[row['gpu']].name} ({row['source']})"
    )


def _shape(row: dict[str, Any]) -> Shape:
    try:
        return shape_of(row["model"])
    except MlxError as error:
        raise MlxError(f"{MEASURED.name}: {error}", "mend the row's model") from None


def rows() -> list[dict[str, Any]]:
    """The measured speeds."""
    found: list[dict[str, Any]] = measured()["rows"]
    return found


@cache
def measured() -> dict[str, Any]:
    """The data file: speeds, and ratios of QLoRA to LoRA, each with its source."""
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found
