"""Writes a byte-level BPE tokenizer and its chat template into a GGUF file, or refuses what would read as other tokens."""

import json
import re
from typing import Any

from gguf import GGUFWriter, TokenType
from transformers import PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.models.template import encode
from src.train.export.pre_tokenizers import OTHERWISE, merges_of, pre_tokenizer, unusual

_MARKS = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
_PROBE = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"}]


def write_vocabulary(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Write tokens, merges, special tokens and the chat template.

    Args:
        writer: The file.
        tokenizer: A fast tokenizer.
        size: Rows of the model's embeddings; those without a token are filled up.

    Raises:
        MlxError: Where llama.cpp would cut text into other tokens.
    """
    if not tokenizer.is_fast:
        raise MlxError("the tokenizer has no tokenizer.json", OTHERWISE)
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    name = pre_tokenizer(rules)
    if odd := unusual(rules["added_tokens"]):
        raise MlxError(f"llama.cpp would treat the space around {', '.join(odd[:3])} otherwise than this tokenizer", OTHERWISE)
    tokens, kinds = _tokens(rules, size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{left} {right}" for left, right in merges_of(rules["model"])])
    _specials(writer, tokenizer)
    writer.add_chat_template(plain_template(str(tokenizer.chat_template)))


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends the assistant's turn in the chat template."""
    found = encode(tokenizer, _PROBE)
    return next(token for token, learned in zip(reversed(found.ids), reversed(found.mask), strict=True) if learned)


def plain_template(template: str) -> str:
    """The chat template without marks for training, which programs that only serve may not know.

    A mark with a hyphen eats the white space on its side, so an empty comment that does the same takes its place.
    """
    return _MARKS.sub(r"{#\1 \2#}", template)


def _tokens(rules: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for text, number in rules["model"]["vocab"].items():
        tokens[number], kinds[number] = text, int(TokenType.NORMAL)
    for each in rules["added_tokens"]:
        kind = TokenType.CONTROL if each["special"] else TokenType.USER_DEFINED
        tokens[each["id"]], kinds[each["id"]] = each["content"], int(kind)
    return tokens, kinds


def _specials(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if tokenizer.eos_token_id is not None:
        writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_eot_token_id(end_of_turn(tokenizer))
    # said either way: llama.cpp has an opinion of its own for some pre-tokenizers
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(bool(ids) and ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(False)
