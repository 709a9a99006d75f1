"""Renders conversations with a tokenizer's chat template and finds what of them is learned, many in a row and each text once."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from src.core.errors import MlxError
from src.models.conversation import Fault
from src.models.dialect import BROKEN, Dialect, dialect
from src.models.encoded import Encoded, Turn, UnfitError
from src.models.family import Variables, family
from src.models.marks import Signed, Span, is_marked, signed
from src.models.places import Places

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A conversation as text."""

    text: str
    turns: tuple[tuple[int, str, str], ...]
    """Each assistant message's place, its prompt, and the conversation up to its end."""
    spans: tuple[Span, ...] | None
    """What the template's marks enclose, where it has any."""


class Encoder:
    """A tokenizer with its chat template; as long as one is used, neither may change."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self.special_ids = {number for number, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self.specials = _either({token.content for token in added.values() if token.special})
        self._cut_ids = frozenset(number for number, token in added.items() if not token.normalized)
        self._cuts = _either({added[number].content for number in self._cut_ids}) if tokenizer.is_fast else None
        self._variables: Variables = tuple((name, str(value)) for name, value in sorted(tokenizer.special_tokens_map.items()) if isinstance(value, str))
        self._given = dict(tokenizer.special_tokens_map)
        self._templates: dict[bool, str] = {}
        self._known: dict[str, list[int]] = {}
        self._ends: dict[tuple[int, ...], bool] = {}

    def template(self, tools: Tools) -> str:
        """The template that is used with these tools; a tokenizer may have one for tools and one without."""
        if not self.tokenizer.chat_template:
            raise MlxError(
                f"{self.tokenizer.name_or_path or 'the tokenizer'} has no chat template",
                "take an instruct model's tokenizer, or put a chat_template.jinja beside it",
            )
        if bool(tools) not in self._templates:
            self._templates[bool(tools)] = str(self.tokenizer.get_chat_template(tools=list(tools) if tools else None))
        return self._templates[bool(tools)]

    def dialect(self, tools: Tools) -> Dialect:
        """The form in which the template takes messages."""
        return dialect(self.template(tools), self._variables)

    def text(self, messages: Messages, tools: Tools, *, prompt: bool = False) -> str:
        """Render messages, ending where the assistant speaks next if `prompt`.

        Raises:
            UnfitError: Where the template refuses them.
        """
        return self._rendered(self.template(tools), self.dialect(tools).messages(messages), tools, prompt=prompt)

    def ids(self, text: str) -> list[int]:
        """Token ids of a rendered text, which brings its special tokens along."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of several texts; the tokenizer makes use of all cores."""
        return self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"] if texts else []  # type: ignore[no-any-return]

    def draft(self, messages: Messages, tools: Tools) -> Draft:
        """Render a conversation, the prompt of each of its assistant turns, and its marks."""
        template = self.template(tools)
        made = dialect(template, self._variables).messages(messages)
        if not made:
            raise UnfitError(Fault("template_error", "no messages"))
        text = self._rendered(template, made, tools)
        turns = []
        for number, message in enumerate(made):
            if message["role"] == "assistant":
                so_far = text if number == len(made) - 1 else self._rendered(template, made[: number + 1], tools)
                turns.append((number, self._rendered(template, made[:number], tools, prompt=True), so_far))
        return Draft(text, tuple(turns), self._spans(template, made, tools, text))

    def finish(self, draft: Draft, ids: list[int]) -> tuple[Encoded, list[Turn]]:
        """Find the turns of a rendered conversation among its ids, and what of them is learned.

        Raises:
            UnfitError: Where a prompt is no prefix of the conversation.
        """
        places = Places(draft.text, ids, cuts=self._cuts, cut_ids=self._cut_ids, tokenize=self.ids, known=self._known)
        turns = [self._turn(draft.text, ids, places, *turn) for turn in draft.turns]
        mask = self._marked(draft, ids, places) if draft.spans is not None else None
        if mask is None:
            mask = [0] * len(ids)
            for turn in turns:
                mask[turn.start : turn.end] = [1] * (turn.end - turn.start)
        other = tuple(turn for turn in turns if not turn.as_served)
        for turn in other:
            mask[turn.start : turn.end] = [0] * (turn.end - turn.start)
        return Encoded(ids, mask, tuple(turn.number for turn in other)), turns

    def many(self, conversations: Iterable[tuple[Messages, Tools]]) -> Iterator[tuple[Encoded, list[Turn]] | Fault]:
        """Encode conversations, their texts turned to tokens together."""
        drafts = [self._drafted(*each) for each in conversations]
        ids = iter(self.ids_of([each.text for each in drafts if isinstance(each, Draft)]))
        for draft in drafts:
            try:
                yield self.finish(draft, next(ids)) if isinstance(draft, Draft) else draft
            except UnfitError as error:
                yield error.fault

    def _drafted(self, messages: Messages, tools: Tools) -> Draft | Fault:
        try:
            return self.draft(messages, tools)
        except UnfitError as error:
            return error.fault

    def _spans(self, template: str, made: list[dict[str, Any]], tools: Tools, text: str) -> tuple[Span, ...] | None:
        """What the marks enclose: the template's own, or those of the family it is of as long as that renders the same."""
        marked = template
        if not is_marked(template):
            known = family(template, self._variables)
            if known is None:
                return None
            marked = known.marked
        found = Signed.read(self._rendered(_signed(marked), made, tools))
        if found and found.text == text:
            return found.spans
        return self._tracked(template, made, tools) if marked is template else None

    def _tracked(self, template: str, made: list[dict[str, Any]], tools: Tools) -> tuple[Span, ...]:
        """The slower way to what a template's own marks enclose, for those that signs would change."""
        given: list[dict[str, Any]] | None = [dict(tool) for tool in tools] if tools else None
        _, spans = render_jinja_template([made], given, chat_template=template, return_assistant_tokens_mask=True, **self._given)
        return tuple(spans[0])

    def _turn(self, text: str, ids: list[int], places: Places, number: int, prompt: str, so_far: str) -> Turn:
        start = self._length(text, ids, places, prompt)
        if start is None:
            raise UnfitError(Fault("prompt_not_prefix", f"message {number}: {self.difference(self.ids(prompt), ids)}"))
        end = self._length(text, ids, places, so_far)
        if end is not None:
            stop = self._stop(ids[start:end])
            return Turn(start, number, end if stop is None else start + stop + 1, None if stop is None else start + stop)
        # a template may write a turn otherwise once others follow (Qwen 3 drops its thoughts): it ends with the same token
        alone = self.ids(so_far)
        stop = self._stop(alone[start:])
        place = None if stop is None else next((n for n in range(start, len(ids)) if ids[n] == alone[start + stop]), None)
        if place is None:
            raise UnfitError(Fault("turn_not_prefix", f"message {number}: {self.difference(alone, ids)}"))
        return Turn(start, number, place + 1, place, as_served=False)

    def _length(self, text: str, ids: list[int], places: Places, part: str) -> int | None:
        """How many of the ids are those of `part`, or None where it is no token prefix of the whole."""
        if text.startswith(part) and (found := places.of(len(part))) is not None:
            return found
        alone = self.ids(part)
        return len(alone) if ids[: len(alone)] == alone else None

    def _stop(self, ids: list[int]) -> int | None:
        """Place of the special token that ends a turn; the white space after it is frame: the model has stopped by then."""
        last = next((place for place in range(len(ids) - 1, -1, -1) if ids[place] in self.special_ids), None)
        if last is None:
            return None
        rest = tuple(ids[last + 1 :])
        if rest not in self._ends:
            if len(rest) > 8:
                return None if self.tokenizer.decode(list(rest)).strip() else last
            self._ends[rest] = not self.tokenizer.decode(list(rest)).strip()
        return last if self._ends[rest] else None

    def _marked(self, draft: Draft, ids: list[int], places: Places) -> list[int] | None:
        """The mask of the spans; None where one begins or ends inside a token."""
        mask = [0] * len(ids)
        for first, last in draft.spans or ():
            start, end = self._length(draft.text, ids, places, draft.text[:first]), self._length(draft.text, ids, places, draft.text[:last])
            if start is None or end is None:
                return None
            mask[start:end] = [1] * (end - start)
        return mask

    def difference(self, expected: list[int], ids: list[int]) -> str:
        """Where two encodings part, in words."""
        at = common(expected, ids)
        decode = self.tokenizer.decode
        return f"token {at} is {decode(expected[at : at + 4])!r} alone, {decode(ids[at : at + 4])!r} in the whole"

    def _rendered(self, template: str, made: list[dict[str, Any]], tools: Tools, *, prompt: bool = False) -> str:
        given: list[dict[str, Any]] | None = [dict(tool) for tool in tools] if tools else None
        try:
            rendered, _ = render_jinja_template([made], given, chat_template=template, add_generation_prompt=prompt, **self._given)
        except BROKEN as error:
            raise UnfitError(Fault("template_error", f"{type(error).__name__}: {str(error)[:200]}")) from error
        return str(rendered[0])


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    return next((n for n, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))


_signed = lru_cache(64)(signed)


def _either(texts: Iterable[str]) -> re.Pattern[str] | None:
    found = sorted((text for text in texts if text), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found))) if found else None
