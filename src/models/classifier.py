"""A trained classifier: what its training left behind, loaded again to give each text the probabilities of its classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from src.models.trained import Trained

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from src.models.class_tokens import TooLong
    from src.models.conversation import Fault


class Classifier(Trained):
    """A base model with a head that was trained on classes: with an adapter, or whole."""

    chats: ClassVar[bool] = False

    task: Literal["classify"] = "classify"
    labels: tuple[str, ...]
    """The classes, in the order of the head's outputs."""
    priors: tuple[float, ...]
    """Share of each among the rows it was trained on."""
    max_tokens: int
    """Most tokens of a text."""
    too_long: Literal["drop", "truncate"]
    """What becomes of longer ones."""

    def open(self, *, device: str = "auto") -> "LoadedClassifier":
        """Load it as it was in training."""
        from src.models.load import load_tokenizer, pick_device
        from src.models.load_classifier import load_classifier

        where = pick_device(device)
        dtype = self._dtype(device)
        if dtype == "auto":  # trained elsewhere
            dtype = "fp32" if where == "cpu" else "bf16"
        model = load_classifier(
            self.model,
            labels=self.labels,
            head=self.tokenizer,
            adapter=self.adapter,
            quantization=self.quantization,
            dtype=dtype if self.adapter else "fp32",
            device=where,
        )
        return LoadedClassifier(model.eval(), load_tokenizer(self.tokenizer), self.labels, self.max_tokens, self.too_long, dtype == "bf16")


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier ready for use. Texts go through `encode` and `probabilities`, in training as well as later."""

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    max_tokens: int
    too_long: "TooLong"
    bf16: bool
    """Whether it computes in bf16; the head's outputs are fp32."""

    def encode(self, text: str) -> "list[int] | Fault":
        """Turn a text into tokens, or say why it has none that fit."""
        from src.models.class_tokens import class_ids

        return class_ids(self.tokenizer, text, longest=self.max_tokens, too_long=self.too_long)

    def logits(self, rows: Sequence[Sequence[int]], *, batch_size: int = 16) -> "NDArray[np.float32]":
        """The head's outputs for rows of tokens: (rows, classes), in the order of the rows."""
        from src.models.class_logits import class_logits

        pad = self.tokenizer.pad_token_id
        found: NDArray[np.float32] = class_logits(self.model, rows, pad=pad, bf16=self.bf16, batch_size=batch_size)
        return found

    def probabilities(self, rows: Sequence[Sequence[int]], *, batch_size: int = 16) -> "NDArray[np.float64]":
        """The probability of each class, for rows of tokens: (rows, classes)."""
        from src.models.class_logits import softmax

        return softmax(self.logits(rows, batch_size=batch_size))
