"""The outputs of a classification head for rows of tokens, whatever the batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@torch.no_grad()  # type: ignore[untyped-decorator]
def class_logits(model: Any, rows: Sequence[Sequence[int]], *, pad: int, bf16: bool, batch_size: int) -> NDArray[np.float32]:
    """Return (rows, classes) in the order of `rows`; texts of about one length share a batch, and the mode stays as it was."""
    order = sorted(range(len(rows)), key=lambda row: (-len(rows[row]), row))
    found = np.zeros((len(rows), model.config.num_labels), dtype=np.float32)
    training = model.training
    model.eval()
    try:
        for first in range(0, len(order), batch_size):
            places = order[first : first + batch_size]
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                outputs = model(**padded([rows[place] for place in places], pad, model.device))
            found[places] = outputs.logits.float().cpu().numpy()
    finally:
        model.train(training)
    return found


def padded(rows: Sequence[Sequence[int]], pad: int, device: Any = None) -> dict[str, torch.Tensor]:
    """Rows as one batch, filled up on the right."""
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device),
    }


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities, in double precision."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
