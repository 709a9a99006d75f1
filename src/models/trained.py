"""What a finished training left behind, and how to load it again with the base and tokens it was trained with."""

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict

from src.core.config import Config
from src.core.errors import MlxError
from src.core.manifest import Manifest

if TYPE_CHECKING:
    from src.models.load import Loaded

ADAPTER, MODEL = "adapter", "model"
_SAMPLE = 1 << 16


class Trained(Config):
    """A base model and how it was loaded, an adapter on it, the template it speaks and the task it learned."""

    chats: ClassVar[bool] = True
    """Whether it answers in words; a classifier does not."""
    model_config = ConfigDict(extra="ignore")  # figures of the training stand beside it in the manifest's info

    base: str
    """Folder (from the working folder) or hub id of the base model."""
    base_kind: Literal["hub", "folder", "scratch"]
    base_beside: str | None = None
    """The same folder, from the training's own: it is found when both have moved together."""
    base_fingerprint: str | None = None
    """Stands for the base's config and weights, where it is a folder."""
    task: Literal["sft", "pretrain", "classify", "dpo"] = "sft"
    weights: Literal["adapter", "model", "."] = "adapter"
    """What it made, and the folder of it: an adapter on the base, or a whole model that needs no base (`.`: an export)."""
    quantization: Literal["nf4", "int8", "none"]
    """How the base's weights were kept in training; an adapter fits best on the same."""
    dtype: Literal["bf16", "fp16", "fp32"]
    device: Literal["cpu", "cuda"]
    template: str
    """Hash of the chat template and tokenizer."""
    system: str | None = None
    """System prompt of the dataset."""
    folder: Path = Path()
    """Where the training's output lies now; not stored."""

    @classmethod
    def of(cls, folder: Path, made_by: str = "mlx train") -> Self:
        """Read what `mlx train` left in `folder`, or `mlx export merge`."""
        manifest = Manifest.read(folder, made_by)
        if manifest.stage not in ("train", "merge"):
            raise MlxError(f"{folder} was made by {manifest.stage}, not by train", "name the folder of a training")
        if cls.chats and manifest.info.get("task") == "classify":
            raise MlxError(
                f"{folder} is a classifier and writes no answers",
                "train one with task: sft; serve.engine.type=classifier serves it as what it is",
            )
        if not cls.chats and manifest.info.get("task") != "classify":
            raise MlxError(f"{folder} is no classifier", "train with task: classify")
        return cls.model_validate({**manifest.info, "folder": folder})

    def as_info(self) -> dict[str, Any]:
        """What goes into the manifest."""
        return self.model_dump(mode="json", exclude={"folder"})

    @property
    def adapter(self) -> Path | None:
        """Folder of the adapter; None where all weights were trained."""
        return self.folder / ADAPTER if self.weights == "adapter" else None

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer and chat template: beside the weights."""
        return self.folder / self.weights

    @property
    def model(self) -> str:
        """The model that the adapter belongs on, or that was made: a folder, or a hub id."""
        return self.base_path if self.weights == "adapter" else (self.folder / self.weights).as_posix()

    @property
    def base_path(self) -> str:
        """The base as it can be loaded from here: a hub id or an existing folder, checked to be the one trained on."""
        if self.base_kind == "hub":
            return self.base
        places = [Path(self.base)] + ([self.folder / self.base_beside] if self.base_beside else [])
        found = next((place for place in places if (place / "config.json").exists()), None)
        if found is None:
            again = "run `mlx train` again" if self.base_kind == "scratch" else "bring it back"
            raise MlxError(f"the base model {self.base} of {self.folder} is gone", again)
        if self.base_fingerprint and fingerprint(found) != self.base_fingerprint:
            raise MlxError(f"{found} is not the base that {self.folder} was trained on: its weights changed", "run `mlx train` again")
        return Path(os.path.normpath(found)).as_posix()

    def load(
        self, *, dtype: str | None = None, device: str = "auto", quantization: Literal["nf4", "int8", "none"] | None = None
    ) -> "Loaded":
        """Load the base as it was in training, with the adapter on it, or the model that was made of it."""
        from src.models.load import load

        return load(
            self.model,
            adapter=self.adapter,
            quantization=quantization or self.quantization,
            dtype=dtype or self._dtype(device),
            device=device,
        )

    def load_base(self, *, dtype: str | None = None, device: str = "auto") -> "Loaded":
        """Load the base alone, with the tokenizer and template of the training."""
        from src.models.load import Loaded, load, load_tokenizer

        alone = load(self.base_path, quantization=self.quantization, dtype=dtype or self._dtype(device), device=device)
        return Loaded(alone.model, load_tokenizer(self.tokenizer))

    def _dtype(self, device: str) -> str:
        """What it was trained in, unless it moved from a GPU to a CPU or back."""
        from src.models.load import pick_device

        return self.dtype if pick_device(device).startswith(self.device) else "auto"


def fingerprint(model: Path) -> str:
    """Stand for a model's folder: its config, and of each weight file the size, the beginning (all names and shapes) and the end."""
    mark = sha256((model / "config.json").read_bytes())
    for file in sorted(model.glob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(_SAMPLE)
            stream.seek(max(0, size - _SAMPLE))
            mark.update(f"{file.name} {size}".encode() + head + stream.read())
    return mark.hexdigest()[:16]


def beside(base: str, folder: Path) -> str:
    """Path of the folder `base` as seen from `folder`."""
    return Path(os.path.relpath(base, folder)).as_posix()
