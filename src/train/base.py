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
from src.models.trained import Trained
from src.train.attention import pick_attention
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
    attention: str = "sdpa"
    start: Path | None = None
    """Folder of an adapter that is trained on."""

    @property
    def on_cpu(self) -> bool:
        """Whether it is trained on the CPU."""
        return self.device == "cpu"

    @property
    def tokenizer(self) -> str:
        """Folder or hub id of the tokenizer: the one the adapter was trained with, where there is one."""
        return self.start.as_posix() if self.start else self.path


def find_base(config: "TrainConfig", run: Run, make: Callable[[], Path] | None = None) -> Base:
    """Find the base model, making it where `model: scratch` asks for it: by `make`, else one that chats."""
    require_bitsandbytes(config.quantization)
    device = place(config)
    dtype = _dtype(config.precision, device)
    attention = pick_attention(config.attention, device=device, dtype=dtype)
    if config.start:
        return _of_start(config, device, dtype, attention)
    if config.model == "scratch":
        made = make() if make else scratch(run, steps=config.scratch.steps)
        return Base(made.as_posix(), "scratch", device, dtype, attention)
    path = located(config.model)
    return Base(path, "folder" if Path(path).is_dir() else "hub", device, dtype, attention)


def _of_start(config: "TrainConfig", device: str, dtype: Literal["bf16", "fp32"], attention: str) -> Base:
    """The base of the training that `start` names, or what that training made of it."""
    assert config.start is not None  # noqa: S101 (for the type checker)
    trained = Trained.of(config.start)
    if trained.weights == "model":
        return Base(trained.model, "folder", device, dtype, attention)
    if config.model != "scratch" and Path(config.model).resolve() != Path(trained.model).resolve():
        raise MlxError(
            f"train.start {config.start} was trained on {trained.model}, and train.model is {config.model}", "make them the same"
        )
    if config.quantization != trained.quantization:
        raise MlxError(
            f"train.start {config.start} was trained with quantization {trained.quantization}: an adapter fits best on the same",
            f"set train.quantization to {trained.quantization}",
        )
    if config.lora is None:
        raise MlxError(f"train.start {config.start} is an adapter, and lora: null trains all weights", "remove one of the two")
    return Base(trained.model, trained.base_kind, device, dtype, attention, trained.adapter)


def place(config: "TrainConfig") -> str:
    """Pick the device, or say that this machine has none for the model."""
    device = pick_device(config.device)
    if device == "cpu":
        _needs_no_gpu(config)
    if device == "cpu" and config.device == "auto" and config.model != "scratch":
        _must_fit_cpu(config.model)
    return device


def _needs_no_gpu(config: "TrainConfig") -> None:
    pick_attention(config.attention, device="cpu", dtype="fp32")
    if config.activation_offloading:
        raise MlxError(
            "train.activation_offloading moves activations from the GPU to the host, and there is no GPU",
            "set it to false, or use a GPU box",
        )


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
