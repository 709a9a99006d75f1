"""Renders conversations with a tokenizer's chat template and finds what of them is learned, many in a row and each text once."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

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


Said = tuple[int, str, str]
"""An assistant message's place, its prompt, and the conversation up to its end."""
Shape = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A conversation as text."""

    text: str
    spans: tuple[Span, ...] | None
    """What the template's marks enclose, where it has any."""
    shape: Shape | None
    """What decides how a known family's template writes it, beside the words themselves."""
    said: Callable[[], list[Said]]
    """Renders what its turns are found by."""


class Encoder:
    """A tokenizer with its chat template; as long as one is used, neither may change."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self.special_ids = {number for number, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self.specials = _either({token.content for token in added.values() if token.special})
        self._cut_ids = frozenset(number for number, token in added.items() if not token.normalized)
        self._cuts = _either({added[number].content for number in self._cut_ids}) if tokenizer.is_fast else None
        self._variables: Variables = tuple(
            (name, str(value)) for name, value in sorted(tokenizer.special_tokens_map.items()) if isinstance(value, str)
        )
        self._given = dict(tokenizer.special_tokens_map)
        self._templates: dict[bool, str] = {}
        self._known: dict[str, list[int]] = {}
        self._shapes: dict[Shape, tuple[tuple[int, bool], ...]] = {}
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
        if not self.tokenizer.is_fast:
            return [self.ids(text) for text in texts]
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return [found.ids for found in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def draft(self, messages: Messages, tools: Tools) -> Draft:
        """Render a conversation and its marks.

        Raises:
            UnfitError: Where the template refuses it.
        """
        template = self.template(tools)
        made = dialect(template, self._variables).messages(messages)
        if not made:
            raise UnfitError(Fault("template_error", "no messages"))
        known = family(template, self._variables)
        if known and is_marked(template) and template != known.marked:
            known = None  # its own marks say what is to be learned
        shape = (bool(tools), *map(_shape, made)) if known else None
        if known and template == known.marked and shape in self._shapes and (found := self._signed(template, made, tools)):
            text, spans = found.text, cast(tuple[Span, ...] | None, found.spans)
        else:
            text = self._rendered(template, made, tools)
            spans = self._spans(template, known.marked if known else template, made, tools, text)
        return Draft(text, spans, shape if spans is not None else None, partial(self._said, template, made, tools, text))

    def finish(self, draft: Draft, ids: list[int]) -> tuple[Encoded, list[Turn]]:
        """Find the turns of a rendered conversation among its ids, and what of them is learned.

        The prompts of the first conversation of a shape are rendered and compared; in a known family's template nothing
        but the shape decides about them, so that the marks tell the turns of all that follow.

        Raises:
            UnfitError: Where a prompt is no prefix of the conversation.
        """
        places = Places(draft.text, ids, cuts=self._cuts, cut_ids=self._cut_ids, tokenize=self.ids, known=self._known)
        marked = self._between(draft, ids, places)
        turns = self._alike(draft.shape, marked, ids)
        if turns is None:
            said = draft.said()
            spans = marked if marked and len(marked) == len(said) else [None] * len(said)
            turns = [self._turn(draft.text, ids, places, span, *turn) for turn, span in zip(said, spans, strict=True)]
            if draft.shape and [(turn.start, turn.end) for turn in turns] == marked:
                self._shapes[draft.shape] = tuple((turn.number, turn.as_served) for turn in turns)
        mask = [0] * len(ids)
        for start, end in [(turn.start, turn.end) for turn in turns] if marked is None else marked:
            mask[start:end] = [1] * (end - start)
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

    def _said(self, template: str, made: list[dict[str, Any]], tools: Tools, text: str) -> list[Said]:
        said = []
        for number, message in enumerate(made):
            if message["role"] == "assistant":
                so_far = text if number == len(made) - 1 else self._rendered(template, made[: number + 1], tools)
                said.append((number, self._rendered(template, made[:number], tools, prompt=True), so_far))
        return said

    def _spans(self, template: str, marked: str, made: list[dict[str, Any]], tools: Tools, text: str) -> tuple[Span, ...] | None:
        """What the marks enclose: the template's own, or those of the family it is of as long as that renders the same."""
        if not is_marked(marked):
            return None
        found = self._signed(marked, made, tools)
        if found and found.text == text:
            return found.spans
        return self._tracked(template, made, tools) if is_marked(template) else None

    def _signed(self, marked: str, made: list[dict[str, Any]], tools: Tools) -> Signed | None:
        return Signed.read(self._rendered(signed(marked), made, tools))

    def _tracked(self, template: str, made: list[dict[str, Any]], tools: Tools) -> tuple[Span, ...]:
        """The slower way to what a template's own marks enclose, for those that signs would change."""
        given: list[dict[str, Any]] | None = [dict(tool) for tool in tools] if tools else None
        _, spans = render_jinja_template([made], given, chat_template=template, return_assistant_tokens_mask=True, **self._given)
        return tuple(spans[0])

    def _turn(self, text: str, ids: list[int], places: Places, span: Span | None, number: int, prompt: str, so_far: str) -> Turn:
        start, end = (self._length(text, ids, places, part) for part in (prompt, so_far))
        if start is not None and end is not None:
            stop = self._stop(ids[start:end])
            return Turn(start, number, end if stop is None else start + stop + 1, None if stop is None else start + stop)
        # a template may write turns otherwise once others follow (Qwen 3 drops its thoughts); alone it has to hold
        alone, expected = self.ids(so_far), self.ids(prompt)
        if alone[: len(expected)] != expected:
            raise UnfitError(Fault("prompt_not_prefix", f"message {number}: {self.difference(expected, alone)}"))
        if span:
            return Turn(span[0], number, span[1], span[1] - 1, as_served=False)
        stop = self._stop(alone[len(expected) :])
        first = 0 if start is None else start
        place = None if stop is None else next((n for n in range(first, len(ids)) if ids[n] == alone[len(expected) + stop]), None)
        if place is None:
            raise UnfitError(Fault("turn_not_prefix", f"message {number}: {self.difference(alone, ids)}"))
        return Turn(first if start is not None else place + 1, number, place + 1, place, as_served=False)

    def _length(self, text: str, ids: list[int], places: Places, part: str) -> int | None:
        """How many of the ids are those of `part`, or None where it is no token prefix of the whole."""
        if text.startswith(part):
            return self._up_to(len(part), text, ids, places)
        alone = self.ids(part)
        return len(alone) if ids[: len(alone)] == alone else None

    def _up_to(self, at: int, text: str, ids: list[int], places: Places) -> int | None:
        """How many of the ids the first `at` characters are, or None where a token reaches over that place."""
        found = places.of(at)
        if found is not None:
            return found
        alone = self.ids(text[:at])
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

    def _between(self, draft: Draft, ids: list[int], places: Places) -> list[Span] | None:
        """The tokens that the marks enclose; None where there are none, or one stands inside a token."""
        if draft.spans is None:
            return None
        found = []
        for first, last in draft.spans:
            start, end = (self._up_to(at, draft.text, ids, places) for at in (first, last))
            if start is None or end is None:
                return None
            found.append((start, end))
        return found

    def _alike(self, shape: Shape | None, marked: list[Span] | None, ids: list[int]) -> list[Turn] | None:
        """The turns of a conversation of a shape that was found sound before."""
        seen = self._shapes.get(shape) if shape else None
        if seen is None or marked is None or len(seen) != len(marked) or any(ids[end - 1] not in self.special_ids for _, end in marked):
            return None
        return [Turn(start, number, end, end - 1, served) for (number, served), (start, end) in zip(seen, marked, strict=True)]

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


def _shape(message: Mapping[str, Any]) -> Shape:
    content = message.get("content") or ""
    if not isinstance(content, str):  # what a template makes of it is its own
        return message["role"], repr(content)
    told = (content.startswith("<tool_response>"), content.endswith("</tool_response>"), "<think>" in content, "</think>" in content)
    return message["role"], bool(content), told, len(message.get("tool_calls") or ()), bool(message.get("reasoning_content"))


def _either(texts: Iterable[str]) -> re.Pattern[str] | None:
    found = sorted((text for text in texts if text), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found))) if found else None
