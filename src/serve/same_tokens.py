"""Refuses to serve a model through another chat template or tokenizer than it was trained with."""

from typing import Any

from src.core.errors import MlxError
from src.models.template import template_hash


def same_tokens(tokenizer: Any, trained: str) -> None:
    """Compare a tokenizer with the hash `trained` that was noted when the model was trained.

    Raises:
        MlxError: Where they differ: every conversation could reach the model as other tokens than it learned.
    """
    found = template_hash(tokenizer)
    if found != trained:
        raise MlxError(
            f"the chat template or tokenizer is not the one that was trained with (now {found[:12]}, then {trained[:12]})",
            "train again with `mlx train`, or put back the tokenizer files in the adapter's folder",
        )
