"""The one way from a conversation to tokens, so that training, evaluation and serving see the same ones."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from src.models.conversation import Fault, fault_in
from src.models.encoded import Encoded, Turn, UnfitError
from src.models.encoder import Encoder, Messages, Tools
from src.models.soundness import render_fault, token_fault
from src.models.thoughts import thought_faults

__all__ = ["Encoded", "UnfitError", "check", "encode", "examine", "examine_all", "prompt_ids", "require_template", "template_hash"]
_CHUNK = 256


def encode(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> Encoded:
    """Encode a whole conversation, with the mask of what is learned.

    The mask comes from `{% generation %}` marks: the template's own, or those of our copy of a known family's template
    as long as both render the same. Without them, an assistant turn is what follows its prompt (the messages before it,
    with the generation prompt), up to the token that ends the turn. A turn that the template writes otherwise once
    others follow is not learned.

    Raises:
        UnfitError: Where the template refuses the messages, or a prompt is no prefix of the conversation.
        MlxError: Where the tokenizer has no chat template.
    """
    encoder = Encoder(tokenizer)
    draft = encoder.draft(messages, tools)
    return encoder.finish(draft, encoder.ids(draft.text))[0]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> list[int]:
    """Encode the messages so that the assistant speaks next: what a server sends to the model.

    Raises:
        UnfitError: Where the template refuses the messages.
        MlxError: Where the tokenizer has no chat template.
    """
    encoder = Encoder(tokenizer)
    return encoder.ids(encoder.text(messages, tools, prompt=True))


def check(tokenizer: PreTrainedTokenizerBase, example: Mapping[str, Any], *, max_tokens: int | None = None) -> Fault | None:
    """Return why `example` (`messages`, `tools`) cannot be learned as it will be served, or None.

    `max_tokens` is the length above which the row is `too_long`; nothing is cut.

    Raises:
        MlxError: Where the tokenizer has no chat template.
    """
    found = examine(tokenizer, example, max_tokens=max_tokens)
    return found if isinstance(found, Fault) else None


def examine(tokenizer: PreTrainedTokenizerBase | Encoder, example: Mapping[str, Any], *, max_tokens: int | None = None) -> Encoded | Fault:
    """Do what `check` does and return the tokens of a sound example, for those who need both."""
    encoder = tokenizer if isinstance(tokenizer, Encoder) else Encoder(tokenizer)
    return next(examine_all(encoder, (example,), max_tokens=max_tokens))


def examine_all(encoder: Encoder, examples: Iterable[Mapping[str, Any]], *, max_tokens: int | None = None) -> Iterator[Encoded | Fault]:
    """Examine examples one after the other; their tokens are made many at a time.

    Raises:
        MlxError: Where the tokenizer has no chat template.
    """
    source = iter(examples)
    for first in source:
        yield from _examined(encoder, [first, *islice(source, _CHUNK - 1)], max_tokens)


def _examined(encoder: Encoder, examples: list[Mapping[str, Any]], max_tokens: int | None) -> Iterator[Encoded | Fault]:
    pairs = [(each["messages"], each.get("tools") or []) for each in examples]
    early = [_early_fault(encoder, *pair) for pair in pairs]
    found = encoder.many(pair for pair, fault in zip(pairs, early, strict=True) if not fault)
    for (messages, tools), fault in zip(pairs, early, strict=True):
        yield fault or _judged(encoder, messages, tools, next(found), max_tokens)


def _early_fault(encoder: Encoder, messages: Messages, tools: Tools) -> Fault | None:
    return fault_in(messages, tools or ()) or next(thought_faults(messages), None) or render_fault(encoder, messages, tools)


def _judged(
    encoder: Encoder, messages: Messages, tools: Tools, found: tuple[Encoded, list[Turn]] | Fault, max_tokens: int | None
) -> Encoded | Fault:
    if isinstance(found, Fault):
        return found
    encoded, turns = found
    if fault := token_fault(encoder, messages, tools, encoded, turns):
        return fault
    if max_tokens is not None and len(encoded.ids) > max_tokens:
        return Fault("too_long", f"{len(encoded.ids)} tokens, over {max_tokens}")
    return encoded


def require_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Fail where the tokenizer has no chat template."""
    Encoder(tokenizer).template(None)


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 over all that decides which tokens a conversation becomes.

    The chat template, the vocabulary and rules of the tokenizer, the special tokens. The padding token, truncation and
    padding settings and post-processing (a chat template brings its own special tokens) change no conversation.
    """
    specials = {name: value for name, value in tokenizer.special_tokens_map.items() if name != "pad_token"}
    parts = {"template": tokenizer.chat_template, "rules": _rules(tokenizer), "specials": specials}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _rules(tokenizer: PreTrainedTokenizerBase) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [tokenizer.get_vocab(), {str(key): str(value) for key, value in tokenizer.added_tokens_decoder.items()}]
    whole = json.loads(backend.to_str())
    return {key: whole.get(key) for key in ("model", "normalizer", "pre_tokenizer", "added_tokens")}
