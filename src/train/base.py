"""Find the base model a training starts from, and say early where this machine cannot train it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from src.core.errors import MlxError
from src.core.run import Run
from src.models.hub import located
from src.models.load import pick_device, require_bitsandbytes
from src.models.size import TINY, known_parameters
from src.train.scratch import scratch

if TYPE_CHECKING:
    from src.train import TrainConfig


@dataclass(frozen=True)
class Base:
    """A base model and where it is trained."""

    path: str
    """Folder or hub id."""
    kind: Literal["hub", "folder", "scratch"]
    device: str
    """`cpu` or `cuda:N`."""
    dtype: Literal["bf16", "fp32"]

    @property
    def on_cpu(self) -> bool:
        """Whether it is trained on the CPU."""
        return self.device == "cpu"


def find_base(config: "TrainConfig", run: Run, make: Callable[[], Path] | None = None) -> Base:
    """Find the base model, making it where `model: scratch` asks for it: by `make`, else one that chats."""
    require_bitsandbytes(config.quantization)
    device = place(config)
    dtype = _dtype(config.precision, device)
    if config.model == "scratch":
        made = make() if make else scratch(run, steps=config.scratch.steps)
        return Base(made.as_posix(), "scratch", device, dtype)
    path = located(config.model)
    return Base(path, "folder" if Path(path).is_dir() else "hub", device, dtype)


def place(config: "TrainConfig") -> str:
    """Pick the device, or say that this machine has none for the model."""
    device = pick_device(config.device)
    if device == "cpu" and config.device == "auto" and config.model != "scratch":
        _must_fit_cpu(config.model)
    return device


def _must_fit_cpu(model: str) -> None:
    size = known_parameters(model)
    if size is not None and size < TINY:
        return
    how_large = f" ({size / 1e9:.1f} B parameters)" if size else ""
    raise MlxError(
        f"train.model {model!r}{how_large} needs a CUDA device: none here",
        "run it on a GPU box; a small one trains here with train.device=cpu; `mlx run config/quickstart.yaml` makes its own",
    )


def _dtype(precision: str, device: str) -> Literal["bf16", "fp32"]:
    if precision == "fp32":
        return "fp32"
    if device != "cpu" and not torch.cuda.is_bf16_supported():
        if precision == "bf16":
            raise MlxError("train.precision bf16: this GPU cannot compute in it", "set train.precision to fp32")
        return "fp32"
    return "bf16" if precision == "bf16" or device != "cpu" else "fp32"
