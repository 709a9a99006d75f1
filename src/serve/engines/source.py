"""Finds the training whose model an engine serves."""

from pathlib import Path
from typing import TYPE_CHECKING

from src.core.errors import MlxError

if TYPE_CHECKING:
    from src.models.trained import Trained


def trained_at(folder: Path | None, own: "Trained | None") -> "Trained":
    """The training in `folder`, or the project's own.

    Raises:
        MlxError: Where there is neither.
    """
    from src.models.trained import Trained

    if folder:
        return Trained.of(folder)
    if own is None:
        raise MlxError("a model under serve.models has no `model`", "set it to the folder of a training, as checkpoint/NAME/train")
    return own


def classifier_at(folder: Path | None, own: "Trained | None") -> Path:
    """The folder of the classifier that was trained there, or of the project's own.

    Raises:
        MlxError: Where there is none.
    """
    from src.models.classifier import Classifier

    if folder:
        return Classifier.of(folder).folder
    return trained_at(None, own).folder
