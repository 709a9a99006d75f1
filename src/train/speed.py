"""How fast a training is, and what of the hardware it uses: time, waiting, memory, share of the GPU's arithmetic."""

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from src.core.errors import MlxError
from src.core.log import peak_mb
from src.train.planning.architecture import read_shape
from src.train.planning.flops import training_flops
from src.train.planning.gpu import gpu_like
from src.train.ranks import world

if TYPE_CHECKING:
    from src.train import TrainConfig


@dataclass
class Span:
    """What happened in some steps."""

    learned: float = 0
    """Tokens that counted in the loss."""
    whole: float = 0
    """Tokens in all."""
    waited: float = 0
    """Seconds in which the next batch was not there yet."""
    computed: float = 0
    """Seconds of forward and backward passes and of the optimizer."""

    @property
    def seconds(self) -> float:
        """Time the steps took, without what comes between them: measuring, saving."""
        return self.waited + self.computed

    def __add__(self, other: "Span") -> "Span":
        return Span(self.learned + other.learned, self.whole + other.whole, self.waited + other.waited, self.computed + other.computed)


@dataclass
class Clock:
    """Times each step, and what goes before it."""

    _mark: float = field(default_factory=perf_counter)
    _waited: float = 0

    def idle(self) -> None:
        """From here on the training waits for data."""
        self._mark = perf_counter()

    def begin(self) -> None:
        """The data is here; the step begins."""
        now = perf_counter()
        self._waited, self._mark = now - self._mark, now

    def end(self, learned: float, whole: float) -> Span:
        """The step is done."""
        return Span(learned, whole, self._waited, perf_counter() - self._mark)


def line(step: int, steps: int, values: dict[str, float], span: Span, *, eta: float, mfu: float | None, cost: float | None) -> str:
    """Sum up some steps in at most 109 characters, its columns below those of the line before."""
    done = f"{step:>{len(str(steps))}}/{steps}"
    rate = f"{_short(span.learned / span.seconds)} of {_short(span.whole / span.seconds)} tok/s"
    used = f"MFU {f'{mfu:3.0%}' if mfu is not None else '  –'}"
    waited = f"wait {span.waited / span.seconds:3.0%}"
    parts = [done, f"loss {values['loss']:6.3f}", f"lr {values['learning_rate']:.1e}", rate, used, waited]
    parts += [f"{memory_gb():4.1f} GB", f"ETA {duration(eta):>7}"]
    return "  ".join(parts) + (f"  ${cost:.{0 if cost >= 100 else 2}f}" if cost is not None else "")


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def memory_gb() -> float:
    """Peak of the memory that the GPU has given out, or of what the process has resident, in GB."""
    return (torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_mb() * 1e6) / 1e9


def utilisation(config: "TrainConfig", model: Any, dataset: Any) -> float | None:
    """Model FLOPs utilisation (MFU) of one token a second; None on a CPU, an unknown GPU or an unknown architecture.

    Recomputed activations do not count, and frozen weights are counted without the gradient that they do not get.

    Args:
        config: The section.
        model: What is trained.
        dataset: The sequences it learns from.
    """
    gpu = gpu_like(torch.cuda.get_device_name()) if torch.cuda.is_available() and model.device.type == "cuda" else None
    if gpu is None:
        return None
    adapter = sum(weight.numel() for weight in model.parameters() if weight.requires_grad) if config.lora else None
    try:
        shape = read_shape(config.model, model.config.to_dict())
    except MlxError:
        return None
    flops = training_flops(shape, _context(dataset), lora=adapter, reference=config.task == "dpo")
    return float(flops) / (gpu.tflops * 1e12 * world())


def _context(dataset: Any) -> float:
    """Mean length of the rows that tokens stand in; none where the task keeps them in columns of its own."""
    names = dataset.column_names
    if "seq_lengths" in names:
        lengths = [length for packed in dataset["seq_lengths"] for length in packed]
    else:
        lengths = [len(ids) for ids in dataset["input_ids"]] if "input_ids" in names else []
    return float(sum(length**2 for length in lengths) / max(1, sum(lengths)))


def _short(number: float) -> str:
    """Six characters: `12,345`, ` 1.23M`."""
    if number < 99_999.5:
        return f"{number:6,.0f}"
    return f"{number / 1e3:5,.0f}k" if number < 999_500 else f"{number / 1e6:5,.1f}M"
