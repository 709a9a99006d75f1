"""The loss of a classifier: cross entropy with a weight for each class, the same however a batch is taken apart."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

Loss = Callable[..., torch.Tensor]


def class_weights(counts: Sequence[int], labels: Sequence[str], how: Literal["none", "balanced"] | dict[str, float]) -> list[float]:
    """How much a row of each class counts, so that the mean over all training rows is 1.

    `balanced` is scikit-learn's: rows / (classes x rows of the class), over the classes that have rows.
    """
    if how == "none":
        return [1.0] * len(counts)
    if how == "balanced":
        present = sum(count > 0 for count in counts)
        return [sum(counts) / (present * count) if count else 1.0 for count in counts]
    raw = [how.get(label, 1.0) for label in labels]
    mean = sum(weight * count for weight, count in zip(raw, counts, strict=True)) / sum(counts)
    return [weight / mean for weight in raw]


def class_loss(weights: Sequence[float], smoothing: float) -> Loss:
    """Return the loss as the trainer calls it: a sum over rows, divided by the rows of the whole optimizer step.

    Dividing by rows, not by their weights, gives gradients that do not depend on how a step is cut into passes.
    """

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        scores = torch.nn.functional.log_softmax(logits.float(), dim=-1)
        right = -scores.gather(1, labels[:, None])[:, 0]
        each = (1 - smoothing) * right - smoothing * scores.mean(-1)
        weighed = each * torch.tensor(weights, device=each.device)[labels]
        return weighed.sum() / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    return loss
