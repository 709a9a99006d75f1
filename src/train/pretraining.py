"""Settings of `task: pretrain`."""

from typing import Literal

from pydantic import Field

from src.core.config import Config


class Pretraining(Config):
    """Going on with pre-training on plain text."""

    objective: Literal["causal", "masked"] = "causal"
    """`causal`: each next token, for decoders; `masked`: tokens that are hidden, for encoders."""
    mask: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are hidden (`masked`)."""
    whole_words: bool = False
    """Hide whole words instead of single tokens (`masked`)."""
    apart: bool = False
    """Keep the documents of a block unseen by each other (`causal`); otherwise a block is one stream of text."""
