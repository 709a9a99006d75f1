"""Compares each vector with NumPy: exact, needs no extra, quick enough for some ten thousand."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.config import Config

if TYPE_CHECKING:
    from src.store.kept import Kept


class Numpy(Config):
    """Each vector compared, exactly, with NumPy; needs no extra."""

    type: Literal["numpy"] = "numpy"

    def open(self, folder: Path, *, name: str, dimension: int) -> "Kept":
        """Open the collection, or begin it."""
        from src.store.kept import Kept

        return Kept(folder, name, dimension, _Index(dimension))


class _Index:
    """Vectors by number, side by side."""

    def __init__(self, dimension: int) -> None:
        import numpy as np

        self.numbers = np.zeros(0, np.int64)
        self.vectors = np.zeros((0, dimension), np.float32)

    def add(self, numbers: Any, vectors: Any) -> None:
        import numpy as np

        self.numbers, self.vectors = np.concatenate([self.numbers, numbers]), np.concatenate([self.vectors, vectors])

    def remove(self, numbers: Collection[int]) -> None:
        import numpy as np

        stays = ~np.isin(self.numbers, list(numbers))
        self.numbers, self.vectors = self.numbers[stays], self.vectors[stays]

    def nearest(self, unit: Any, wanted: int, among: Sequence[int] | None) -> list[tuple[int, Any]]:
        import numpy as np

        places = np.arange(len(self.numbers)) if among is None else np.flatnonzero(np.isin(self.numbers, among))
        scores = self.vectors[places] @ unit if among is not None else self.vectors @ unit
        best = places[np.argpartition(-scores, wanted - 1)[:wanted]] if wanted < len(places) else places
        return [(int(self.numbers[place]), self.vectors[place]) for place in best]
