"""The one way from a conversation to tokens, so that training, evaluation and serving see the same ones."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.models.conversation import Fault, fault_in
from src.models.dialect import BROKEN, Dialect, dialect

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]] | None
_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as a model sees it."""

    ids: list[int]
    """Token ids of the whole conversation."""
    mask: list[int]
    """1 at each token that is learned: what the assistant says, with the token that ends its turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Where an assistant turn stands among the ids."""

    start: int
    """Length of its prompt."""
    number: int
    """Place of its message."""
    end: int
    """One past its last token that is learned."""
    stop: int | None
    """Place of the token that ends the turn; None where no special token does."""


class UnfitError(MlxError):
    """A conversation that the template cannot turn into tokens one may learn from; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.reason}: {fault.detail}", "`mlx build` drops such rows and names them in dropped.jsonl")
        self.fault = fault


def encode(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> Encoded:
    """Encode a whole conversation, with the mask of what is learned.

    The mask comes from the template's `{% generation %}` marks. Without them, an assistant turn is what follows its
    prompt (the messages before it, with the generation prompt), up to the token that ends the turn.

    Raises:
        UnfitError: Where the template refuses the messages, or a prompt is no prefix of the conversation.
        MlxError: Where the tokenizer has no chat template.
    """
    return _encode(tokenizer, messages, tools)[0]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> list[int]:
    """Encode the messages so that the assistant speaks next: what a server sends to the model.

    Raises:
        UnfitError: Where the template refuses the messages.
        MlxError: Where the tokenizer has no chat template.
    """
    return _ids(tokenizer, messages, tools, add_generation_prompt=True)


def check(tokenizer: PreTrainedTokenizerBase, example: Mapping[str, Any], *, max_tokens: int | None = None) -> Fault | None:
    """Return why `example` (`messages`, `tools`) cannot be learned as it will be served, or None.

    `max_tokens` is the length above which the row is `too_long`; nothing is cut.

    Raises:
        MlxError: Where the tokenizer has no chat template.
    """
    found = examine(tokenizer, example, max_tokens=max_tokens)
    return found if isinstance(found, Fault) else None


def examine(tokenizer: PreTrainedTokenizerBase, example: Mapping[str, Any], *, max_tokens: int | None = None) -> Encoded | Fault:
    """Do what `check` does and return the tokens of a sound example, for those who need both."""
    messages, tools = example["messages"], example.get("tools") or []
    if fault := fault_in(messages, tools) or _render_fault(tokenizer, messages, tools):
        return fault
    try:
        encoded, turns = _encode(tokenizer, messages, tools, with_turns=True)
    except UnfitError as error:
        return error.fault
    if fault := _mask_fault(tokenizer, encoded, turns) or _prompt_fault(tokenizer, messages, tools, encoded, turns):
        return fault
    if max_tokens is not None and len(encoded.ids) > max_tokens:
        return Fault("too_long", f"{len(encoded.ids)} tokens, over {max_tokens}")
    return encoded


def require_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Fail where the tokenizer has no chat template."""
    _template(tokenizer, None)


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


def _encode(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, *, with_turns: bool = False
) -> tuple[Encoded, list[Turn]]:
    if _MARK.search(_template(tokenizer, tools)) and tokenizer.is_fast:
        found = _apply(tokenizer, messages, tools, return_dict=True, return_assistant_tokens_mask=True)
        encoded = Encoded(list(found["input_ids"]), list(found["assistant_masks"]))
        return encoded, list(_turns(tokenizer, messages, tools, encoded.ids)) if with_turns else []
    ids = _ids(tokenizer, messages, tools)
    turns = list(_turns(tokenizer, messages, tools, ids))
    mask = [0] * len(ids)
    for turn in turns:
        mask[turn.start : turn.end] = [1] * (turn.end - turn.start)
    return Encoded(ids, mask), turns


def _turns(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, ids: list[int]) -> Iterator[Turn]:
    """Find each assistant turn among `ids`: after its prompt, up to where the conversation so far ends."""
    specials = _special_ids(tokenizer)
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = prompt_ids(tokenizer, messages[:number], tools)
        if ids[: len(prompt)] != prompt:
            raise UnfitError(Fault("prompt_not_prefix", f"message {number}: {_difference(tokenizer, prompt, ids)}"))
        so_far = ids if number == len(messages) - 1 else _ids(tokenizer, messages[: number + 1], tools)
        stop = _stop(tokenizer, so_far, len(prompt), specials)
        if ids[: len(so_far)] == so_far:
            yield Turn(len(prompt), number, len(so_far) if stop is None else stop + 1, stop)
            continue
        # a template may render a turn otherwise once others follow (Qwen3 drops its thoughts): it ends with the same token
        place = None if stop is None else next((n for n in range(len(prompt), len(ids)) if ids[n] == so_far[stop]), None)
        if place is None:
            raise UnfitError(Fault("turn_not_prefix", f"message {number}: {_difference(tokenizer, so_far, ids)}"))
        yield Turn(len(prompt), number, place + 1, place)


def _stop(tokenizer: PreTrainedTokenizerBase, ids: list[int], start: int, specials: set[int]) -> int | None:
    """Place of the special token that ends `ids`; the white space after it is frame: the model has stopped by then."""
    last = next((place for place in range(len(ids) - 1, start - 1, -1) if ids[place] in specials), None)
    return None if last is None or tokenizer.decode(ids[last + 1 :]).strip() else last


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def _before(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools) -> list[int]:
    try:
        return _ids(tokenizer, messages, tools)
    except UnfitError:  # nothing before the first turn, or a template that wants a user to have spoken
        return []


def _common(one: list[int], other: list[int]) -> int:
    return next((n for n, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))


def _difference(tokenizer: PreTrainedTokenizerBase, expected: list[int], ids: list[int]) -> str:
    at = _common(expected, ids)
    return f"token {at} is {tokenizer.decode(expected[at : at + 4])!r} alone, {tokenizer.decode(ids[at : at + 4])!r} in the whole"


def _render_fault(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools) -> Fault | None:
    manner = _dialect(tokenizer, tools)
    if tools and not manner.tools:
        return Fault("tools_not_rendered", "the chat template does not show the tools offered")
    if not manner.calls and any(message.get("tool_calls") for message in messages):
        return Fault("calls_not_rendered", "the chat template does not render tool calls")
    specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for number, message in enumerate(messages):
        for token in specials:
            if token in (message.get("content") or ""):
                return Fault("special_token_in_text", f"message {number} holds {token!r}")
    return None


def _mask_fault(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, turns: list[Turn]) -> Fault | None:
    if not any(encoded.mask):
        return Fault("no_trained_token", "the template's {% generation %} marks enclose nothing")
    for number, turn in enumerate(turns):
        if turn.stop is None:
            return Fault("end_not_trained", f"assistant turn {number}: no special token ends it")
        if not encoded.mask[turn.stop]:
            return Fault("end_not_trained", f"assistant turn {number}: {tokenizer.decode([encoded.ids[turn.stop]])!r} is outside the mask")
        if not any(encoded.mask[turn.start : turn.stop]):
            return Fault("no_trained_token", f"assistant turn {number}")
    return None


def _prompt_fault(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, encoded: Encoded, turns: list[Turn]
) -> Fault | None:
    """Whether a token is learned that the assistant never says: of a user, of a tool."""
    outside = {place for place, learned in enumerate(encoded.mask) if learned}
    for turn in turns:
        outside.difference_update(range(turn.start, turn.end))
    for turn in turns if outside else ():  # the generation prompt may be learned: superfluous, but the same at each turn
        prompt = encoded.ids[: turn.start]
        outside.difference_update(range(_common(prompt, _before(tokenizer, messages[: turn.number], tools)), turn.start))
    # a mark may take in the white space after the end of a turn, which does no harm
    if tokenizer.decode([encoded.ids[place] for place in sorted(outside)]).strip():
        return Fault("prompt_trained", f"{len(outside)} tokens outside the assistant's turns are in the mask")
    return None


def _ids(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, **options: Any) -> list[int]:
    return list(_apply(tokenizer, messages, tools, return_dict=False, **options))


def _apply(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, **options: Any) -> Any:
    made = _dialect(tokenizer, tools).messages(messages)
    try:
        return tokenizer.apply_chat_template(
            made, tools=list(tools) if tools else None, tokenize=True, tokenizer_kwargs={"verbose": False}, **options
        )
    except BROKEN as error:
        raise UnfitError(Fault("template_error", f"{type(error).__name__}: {str(error)[:200]}")) from error


def _dialect(tokenizer: PreTrainedTokenizerBase, tools: Tools) -> Dialect:
    specials = {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return dialect(_template(tokenizer, tools), tuple(sorted(specials.items())))


def _template(tokenizer: PreTrainedTokenizerBase, tools: Tools) -> str:
    if not tokenizer.chat_template:
        raise MlxError(
            f"{tokenizer.name_or_path or 'the tokenizer'} has no chat template",
            "take an instruct model's tokenizer, or put a chat_template.jinja beside it",
        )
    return str(tokenizer.get_chat_template(tools=list(tools) if tools else None))
