"""Settings of `task: pretrain`."""

from typing import Literal

from pydantic import Field

from src.core.config import Config


class Pretraining(Config):
    """Going on with pre-training on plain text: the records of scrape or dedup, or a .parquet or .jsonl file with `text`."""

    objective: Literal["causal", "masked"] = "causal"
    """`causal`: each next token, for decoders; `masked`: tokens that are hidden, for encoders."""
    apart: bool = False
    """Keep the documents of a sequence unseen by each other (`causal`); otherwise they are one stream, cut into equal blocks."""
    mask: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are hidden (`masked`)."""
    whole_words: bool = False
    """Hide whole words instead of single tokens (`masked`)."""
    validation: float = Field(default=0.02, ge=0, lt=1)
    """Share of the documents that are measured and not learned."""
