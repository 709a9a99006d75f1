"""Measure a classifier on the validation split while it is trained, by the very way it is used later."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from src.core.files import write_text
from src.models import class_scores
from src.models.classifier import LoadedClassifier
from src.train.class_data import Data
from src.train.ranks import rank


class Scorer:
    """Called for figures by name; writes them, with precision, recall and the confusion matrix, to a file of the step.

    Args:
        folder: Where the files go.
        step: Tells the step.
        classifier: The model in training.
        data: Its rows.
        loss: The training's own loss of logits and classes.
        most: Rows measured at most.
        batch_size: Rows at a time.
    """

    def __init__(
        self,
        folder: Path,
        step: Callable[[], int],
        classifier: LoadedClassifier,
        data: Data,
        loss: Callable[..., torch.Tensor],
        *,
        most: int,
        batch_size: int,
    ) -> None:
        self.folder = folder
        self.step = step
        self.classifier = classifier
        self.rows = data.validation[:most]
        self.loss = loss
        self.batch_size = batch_size

    def __call__(self) -> dict[str, float]:
        """Return loss, accuracy, macro F1, MCC and each class's F1 as `validation_<name>`."""
        labels = self.classifier.labels
        logits = self.classifier.logits([row.ids for row in self.rows], batch_size=self.batch_size)
        true, predicted = [row.label for row in self.rows], np.argmax(logits, axis=1).tolist()
        counts = class_scores.tallies(true, predicted, len(labels)).sum(0)
        figures = {
            "loss": float(self.loss(torch.tensor(logits), torch.tensor(true))),
            "accuracy": float(class_scores.accuracy(counts)),
            "macro_f1": float(class_scores.macro_f1(counts)),
            "mcc": float(class_scores.mcc(counts)),
        }
        figures |= {f"f1/{label}": float(value) for label, value in zip(labels, class_scores.f1(counts), strict=True)}
        by_class = {
            label: {"precision": float(precision), "recall": float(recall)}
            for label, precision, recall in zip(labels, class_scores.precision(counts), class_scores.recall(counts), strict=True)
        }
        scores = {**figures, "classes": by_class, "confusion": class_scores.confusion(true, predicted, len(labels))}
        if rank() == 0:
            write_text(self.folder / f"{self.step()}.json", json.dumps(scores))
        return {f"validation_{name}": value for name, value in figures.items()}
