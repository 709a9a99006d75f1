"""Hide tokens for masked language modelling, each time others, and the same ones after an interruption."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from src.core.seeds import derive
from src.train.rows import IGNORED

MEASURED = -1
"""The epoch whose masks are used for measuring."""


class Masking(TrainerCallback):  # type: ignore[misc]
    """A collator: what it hides depends on the seed, the epoch and the row, and on nothing else.

    Of the hidden tokens 80 % become the mask token, 10 % another token, 10 % stay (Devlin et al. 2019, §3.1). Masks of
    transformers' own collator come from the global random state, which runs ahead of a checkpoint with the batches that
    are fetched early: a training that goes on from there would see others.

    Args:
        tokenizer: Has a mask token.
        share: Share of the tokens to hide; at least one in each row.
        whole_words: Whether all tokens of a word are hidden together.
        seed: Of the run.
    """

    def __init__(self, tokenizer: Any, *, share: float, whole_words: bool, seed: int) -> None:
        self.mask, self.pad, self.size = tokenizer.mask_token_id, tokenizer.pad_token_id, len(tokenizer)
        self.share = share
        self.whole_words = whole_words
        self.seed = seed
        self.epoch = 0

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note the epoch."""
        self.epoch = int((state.epoch or 0) + 1e-6)

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch of rows with `number`, `input_ids` and `words` (-1 where nothing may be hidden)."""
        made = [self._hidden(each) for each in features]
        longest = max(len(ids) for ids, _ in made)

        def filled(rows: Sequence[torch.Tensor], filler: int) -> torch.Tensor:
            return torch.stack([torch.nn.functional.pad(row, (0, longest - len(row)), value=filler) for row in rows])

        return {
            "input_ids": filled([ids for ids, _ in made], self.pad),
            "attention_mask": filled([torch.ones_like(ids) for ids, _ in made], 0),
            "labels": filled([labels for _, labels in made], IGNORED),
        }

    def _hidden(self, row: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        luck = torch.Generator().manual_seed(derive(self.seed, "mask", self.epoch, row["number"]))
        ids, words = torch.tensor(row["input_ids"]), torch.tensor(row["words"])
        places = (words >= 0).nonzero().squeeze(1)
        units = words[places] if self.whole_words else places
        _, unit_of, sizes = units.unique(return_inverse=True, return_counts=True)
        order = torch.randperm(len(sizes), generator=luck)
        # whole units until the share is reached, and always one
        before = sizes[order].cumsum(0) - sizes[order]
        chosen = order[before < max(1, round(self.share * len(places)))]
        hidden = places[torch.isin(unit_of, chosen)]
        labels = torch.full_like(ids, IGNORED)
        labels[hidden] = ids[hidden]
        fate = torch.rand(len(hidden), generator=luck)
        ids[hidden[fate < 0.8]] = self.mask
        others = hidden[(fate >= 0.8) & (fate < 0.9)]
        ids[others] = torch.randint(self.size, (len(others),), generator=luck)
        return ids, labels
