"""How likely a model finds what was really said: the negative log-likelihood of given tokens."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch


class Masked(Protocol):
    """Tokens, and which of them count."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""

    @property
    def mask(self) -> list[int]:
        """1 where a token counts."""


_SLICE = 1024  # positions whose logits are turned into float32 at once: a long row over a large vocabulary is gigabytes


@torch.inference_mode()  # type: ignore[untyped-decorator]
def token_log_probs(model: Any, ids: Sequence[int]) -> list[float]:
    """Return ln p(token | all before it) of each token of one row but the first: one value less than there are tokens."""
    row = torch.tensor([list(ids)], device=model.device)
    logits = model(input_ids=row, use_cache=False).logits[0, :-1]
    found: list[float] = []
    for start in range(0, len(ids) - 1, _SLICE):
        part, wanted = logits[start : start + _SLICE].float(), row[0, 1 + start : 1 + start + _SLICE]
        found += part.log_softmax(-1).gather(-1, wanted[:, None])[:, 0].tolist()
    return found


@torch.inference_mode()  # type: ignore[untyped-decorator]
def negative_log_likelihoods(model: Any, rows: Sequence[Masked]) -> list[tuple[float, int]]:
    """For each row the sum over its counting tokens of -ln p(token | all before it), in nats, and how many they are.

    The rows make one batch, padded on the right. A row's first token has nothing before it and never counts.
    """
    longest = max(len(row.ids) for row in rows)
    ids = torch.tensor([list(row.ids) + [0] * (longest - len(row.ids)) for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows], device=model.device)
    counts = torch.tensor([list(row.mask) + [0] * (longest - len(row.ids)) for row in rows], device=model.device)[:, 1:].bool()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    found = []
    for number in range(len(rows)):  # one row at a time: in float32 the logits of a batch can be gigabytes
        where = counts[number]
        loss = torch.nn.functional.cross_entropy(logits[number][where].float(), ids[number, 1:][where], reduction="none")
        found.append((float(loss.double().sum()), int(where.sum())))
    return found
