"""What can be wrong with a conversation once it is tokens: tools unseen, ends outside the mask, others' words inside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.models.conversation import Fault
from src.models.encoded import Encoded, Turn, UnfitError
from src.models.encoder import Encoder, common
from src.models.thoughts import TAGS

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]] | None


def render_fault(encoder: Encoder, messages: Messages, tools: Tools) -> Fault | None:
    """What the template would leave out, and special tokens that stand in a text."""
    manner = encoder.dialect(tools)
    calls = [message["tool_calls"] for message in messages if message.get("tool_calls")]
    if tools and not manner.tools:
        return Fault("tools_not_rendered", "the chat template does not show the tools offered")
    if calls and not manner.calls:
        return Fault("calls_not_rendered", "the chat template does not render tool calls")
    if not manner.several and any(len(each) > 1 for each in calls):
        return Fault("parallel_calls_not_rendered", "the chat template renders one tool call a turn")
    if not manner.thoughts and any(message.get("reasoning_content") for message in messages):
        return Fault("thoughts_not_rendered", "the chat template leaves out reasoning_content")
    for number, message in enumerate(messages):
        for text in _texts(message) if encoder.specials else ():
            found = next((each for each in encoder.specials.findall(text) if each not in TAGS), None)  # type: ignore[union-attr]
            if found:
                return Fault("special_token_in_text", f"message {number} holds {found!r}")
    return None


def token_fault(encoder: Encoder, messages: Messages, tools: Tools, encoded: Encoded, turns: Sequence[Turn]) -> Fault | None:
    """What is wrong with the tokens and the mask."""
    bos = encoder.tokenizer.bos_token_id
    if bos is not None and encoded.ids[:2] == [bos, bos]:
        return Fault("bos_twice", f"it begins with {encoder.tokenizer.bos_token!r} twice")
    return _mask_fault(encoder, encoded, turns) or _prompt_fault(encoder, messages, tools, encoded, turns)


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    yield message.get("content") or ""
    yield message.get("reasoning_content") or ""
    for call in message.get("tool_calls") or ():
        yield json.dumps(call["function"], ensure_ascii=False)


def _mask_fault(encoder: Encoder, encoded: Encoded, turns: Sequence[Turn]) -> Fault | None:
    if not any(encoded.mask):
        return Fault("no_trained_token", "the template's {% generation %} marks enclose nothing")
    for number, turn in enumerate(turns):
        if not turn.as_served:
            continue
        if turn.stop is None:
            return Fault("end_not_trained", f"assistant turn {number}: no special token ends it")
        if not encoded.mask[turn.stop]:
            end = encoder.tokenizer.decode([encoded.ids[turn.stop]])
            return Fault("end_not_trained", f"assistant turn {number}: {end!r} is outside the mask")
        if not any(encoded.mask[turn.start : turn.stop]):
            return Fault("no_trained_token", f"assistant turn {number}")
    return None


def _prompt_fault(encoder: Encoder, messages: Messages, tools: Tools, encoded: Encoded, turns: Sequence[Turn]) -> Fault | None:
    """Whether a token is learned that the assistant never says: of a user, of a tool."""
    outside = {place for place, learned in enumerate(encoded.mask) if learned}
    for turn in turns:
        outside.difference_update(range(turn.start, turn.end))
    for turn in turns if outside else ():  # the generation prompt may be learned: superfluous, but the same at each turn
        prompt = encoded.ids[: turn.start]
        outside.difference_update(range(common(prompt, _before(encoder, messages[: turn.number], tools)), turn.start))
    # a mark may take in the white space after the end of a turn, which does no harm
    if encoder.tokenizer.decode([encoded.ids[place] for place in sorted(outside)]).strip():
        return Fault("prompt_trained", f"{len(outside)} tokens outside the assistant's turns are in the mask")
    return None


def _before(encoder: Encoder, messages: Messages, tools: Tools) -> list[int]:
    try:
        return encoder.ids(encoder.text(messages, tools))
    except UnfitError:  # nothing before the first turn, or a template that wants a user to have spoken
        return []
