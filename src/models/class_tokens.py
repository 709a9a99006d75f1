"""The one way from a text to the tokens of a classifier, so that training, evaluation and serving see the same ones."""

from collections.abc import Mapping
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from src.models.conversation import Fault

TooLong = Literal["drop", "truncate"]


def class_ids(tokenizer: PreTrainedTokenizerBase, text: str, *, longest: int, too_long: TooLong) -> "list[int] | Fault":
    """Encode a text between the tokenizer's own marks (BERT's [CLS] and [SEP], a decoder's beginning).

    The padding token is taken out where a text spells it: decoders find the end of a text by it.

    Args:
        tokenizer: The model's.
        text: The text alone, without a chat template.
        longest: Most tokens, the marks included.
        too_long: What becomes of a longer text: a fault, or its first tokens.
    """
    if not text.strip():
        return Fault("no_text")
    ids = _ids(tokenizer, text)
    if len(ids) > longest and too_long == "drop":
        return Fault("too_long", f"{len(ids)} tokens, over {longest}")
    if len(ids) > longest:
        ids = _ids(tokenizer, text, most=longest)
    return ids or Fault("no_text", "no token")


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, most: int | None = None) -> list[int]:
    found = tokenizer(text, truncation=most is not None, max_length=most, verbose=False)["input_ids"]
    return [each for each in found if each != tokenizer.pad_token_id]


def class_text(example: Mapping[str, Any]) -> str:
    """The text of an example that is classified: what its user says last."""
    said = (message.get("content") for message in reversed(example["messages"]) if message["role"] == "user")
    return str(next(said, None) or "")
