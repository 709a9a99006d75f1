"""Vectors as text, for a line of JSON."""

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def packed(vector: "NDArray[np.float32]") -> str:
    """Its bytes in base64."""
    return b64encode(vector.tobytes()).decode()


def unpacked(text: str) -> "NDArray[np.float32]":
    """The vector, shape (dimension,)."""
    import numpy as np

    return np.frombuffer(b64decode(text), np.float32)
