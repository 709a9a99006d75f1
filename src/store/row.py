"""What goes into a store and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.floating]
else:
    Vector = object


@dataclass(frozen=True, slots=True)
class Row:
    """A vector with its name."""

    id: str
    vector: "Vector"
    """Shape (dimension,); only its direction counts."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """What a search can ask for; keys are words of a-z and _."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that a search found."""

    id: str
    score: float
    """Cosine, to six decimals."""
    meta: Mapping[str, str]
