"""Which known family a chat template is of, found out by what it renders, so that our marked copy may tell what is learned."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from src.models.dialect import BROKEN
from src.models.steady import mended

FOLDER = Path(__file__).with_name("templates")
Variables = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """A family of chat templates."""

    name: str
    """As its file in templates/ is called."""
    marked: str
    """Renders what the family's own template does, with `{% generation %}` around what the assistant says."""


@lru_cache(64)
def family(template: str, variables: Variables) -> Family | None:
    """Name the family whose marked template renders every probe as `template` does; None where there is none.

    `variables` are the special tokens by their names, as templates are given them.
    """
    wanted = [_render(template, variables, *probe) for probe in _probes()]
    for each in _families():
        if all(_render(each.marked, variables, *probe) == text for probe, text in zip(_probes(), wanted, strict=True)):
            return each
    return None


@lru_cache(1)
def _families() -> tuple[Family, ...]:
    paths = [*sorted(FOLDER.glob("*.jinja")), FOLDER.with_name("chatml.jinja")]  # the last is of the small base that is made here
    found = [Family(path.stem if path.parent == FOLDER else "scratch", path.read_text(encoding="utf-8").strip()) for path in paths]
    other = [Family(each.name, mended(each.marked)) for each in found if mended(each.marked) != each.marked]
    return tuple(found + other)


@lru_cache(1)
def _probes() -> tuple[tuple[list[dict[str, Any]], list[dict[str, Any]] | None, bool], ...]:
    """Conversations that tell the families apart, with and without tools, at their end and before an answer."""
    system = {"role": "system", "content": "Be brief."}
    user, other = {"role": "user", "content": " Light on "}, {"role": "user", "content": "More"}
    aye, done = {"role": "assistant", "content": " Aye\n"}, {"role": "assistant", "content": "Done"}
    call = {"id": "abcDEF123", "type": "function", "function": {"name": "light", "arguments": {"room": "é", "on": True}}}
    called: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": [call]}
    both = {**called, "content": "I look.", "tool_calls": [call, {**call, "id": "abcDEF124"}]}
    result = {"role": "tool", "tool_call_id": "abcDEF123", "content": "ok", "name": "light"}
    thought = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nDone"}
    reasoned = {"role": "assistant", "content": "Done", "reasoning_content": "hm"}
    chats = (
        [user, aye],
        [system, user, aye, other, done],
        [user, called, result, done, other, aye],
        [system, user, called],
        [user, both, result, {**result, "tool_call_id": "abcDEF124"}, done],
        [user, thought, other, thought],
        [user, reasoned, other, {**called, "reasoning_content": "hm"}, result, reasoned],
        [user, other, aye],
        [aye, user, done],
    )
    tool = {"type": "function", "function": {"name": "light", "description": "Set ü.", "parameters": {"type": "object", "properties": {}}}}
    return tuple(itertools.product(chats, (None, [tool], [tool, tool]), (False, True)))


def _render(
    template: str, variables: Variables, chat: Sequence[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool
) -> str | None:
    try:
        rendered, _ = render_jinja_template([chat], tools, chat_template=template, add_generation_prompt=prompt, **dict(variables))
    except BROKEN:
        return None
    return str(rendered[0])
