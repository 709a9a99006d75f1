"""The templates with marks render what the families' own do, are known by what they render, and mask what prefixes mask."""

import itertools
import random
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from src.llm.vllm import tool_parser
from src.models.dialect import BROKEN
from src.models.encoder import Encoder
from src.models.family import FOLDER, family
from src.models.steady import mended
from src.models.template import Encoded, encode, examine, examine_all, prompt_ids
from src.models.tool_calls import parse

from .families import FAMILIES, WITH_TOOLS, marked, of_trl, official, tokenizer_of

TOOL = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Set a light ünder a roof.",
        "parameters": {"type": "object", "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}}, "required": ["room"]},
    },
}
NOW = {"type": "function", "function": {"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}}


def call(number: int, name: str = "set_light", arguments: Any = None) -> dict[str, Any]:
    made = {"room": "attic é", "on": True} if arguments is None else arguments
    return {"id": f"abcdefgh{number}", "type": "function", "function": {"name": name, "arguments": made}}


SYSTEM = {"role": "system", "content": "Be brief."}
USER, OTHER = {"role": "user", "content": " Light on "}, {"role": "user", "content": "<tool_response>More</tool_response>"}
AYE, DONE = {"role": "assistant", "content": " Aye\n"}, {"role": "assistant", "content": "Done"}
THOUGHT = {"role": "assistant", "content": "<think>\nhm, two\n\nlines\n</think>\n\nDone"}
REASONED = {"role": "assistant", "content": "Done", "reasoning_content": "hm"}
CALLED = {"role": "assistant", "content": "", "tool_calls": [call(1)]}
BOTH = {"role": "assistant", "content": "I look.", "tool_calls": [call(1), call(2, "now", {})]}
RESULT, SECOND = ({"role": "tool", "tool_call_id": f"abcdefgh{n}", "content": '{"ok": 1}', "name": "x"} for n in (1, 2))
CHATS = [
    [USER, AYE],
    [SYSTEM, USER],
    [SYSTEM, USER, AYE, OTHER, DONE],
    [USER, CALLED],
    [SYSTEM, USER, CALLED, RESULT, DONE],
    [USER, CALLED, RESULT, CALLED, RESULT, DONE],
    [USER, BOTH, RESULT, SECOND, DONE, USER, AYE],
    [USER, THOUGHT],
    [USER, THOUGHT, USER, REASONED],
    [USER, {**CALLED, "reasoning_content": "x"}, RESULT, REASONED],
    [SYSTEM, USER, AYE, SYSTEM, USER, AYE],
    [USER, USER, AYE],
    [AYE, USER, AYE],
    [USER, {**AYE, "role": "bot"}],
]


def rendered(template: str, variables: dict[str, str], chat: list, tools: list | None, *, prompt: bool) -> str | None:
    try:
        return str(render_jinja_template([chat], tools, chat_template=template, add_generation_prompt=prompt, **variables)[0][0])
    except BROKEN:
        return None


@pytest.mark.parametrize("name", FAMILIES)
def test_the_marked_template_renders_what_the_official_one_does(name: str) -> None:
    variables = dict(tokenizer_of(name).special_tokens_map)
    count = 0
    for one, other in ((official(name), marked(name)), (mended(official(name)), mended(marked(name)))):
        for chat, tools, prompt in itertools.product(CHATS, (None, [TOOL], [TOOL, NOW]), (False, True)):
            text = rendered(one, variables, chat, tools, prompt=prompt)
            assert rendered(other, variables, chat, tools, prompt=prompt) == text, (chat, tools, prompt)
            count += text is not None
    assert count > 80


def test_llama_takes_a_date_and_tools_outside_the_user_message() -> None:
    variables = dict(tokenizer_of("llama3_1").special_tokens_map) | {"date_string": "1 Jan 2026", "tools_in_user_message": False}
    texts = {
        rendered(each, variables, [USER, CALLED, RESULT, DONE], [TOOL], prompt=False) for each in (official("llama3_1"), marked("llama3_1"))
    }
    assert len(texts) == 1 and "1 Jan 2026" in next(iter(texts)) and "You have access to" in next(iter(texts))


def test_every_template_shipped_is_a_family_that_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_known_by_what_it_renders(name: str) -> None:
    variables = tuple(sorted(tokenizer_of(name).special_tokens_map.items()))
    for template in (official(name), mended(official(name)), official(name) + "{# of another release #}"):
        found = family(template, variables)
        assert found and found.name == name
    changed = official(name).replace("assistant", "helper")
    assert family(changed, variables) is None


def test_llama_3_2_writes_no_date_of_today() -> None:
    tokenizer = tokenizer_of("llama3_1", of_trl("llama3_2"))
    assert "26 Jul 2024" in tokenizer.decode(prompt_ids(tokenizer, [USER]))
    assert family(tokenizer.chat_template, tuple(sorted(tokenizer.special_tokens_map.items()))).name == "llama3_1"


def by_prefixes(tokenizer: Any, messages: list, tools: list | None) -> tuple[list[int], list[int]]:
    """The mask as one would make it by hand: what follows a prompt, as long as the conversation so far is a prefix."""
    tokens = lambda some, **more: tokenizer.apply_chat_template(some, tools=tools, return_dict=False, **more)  # noqa: E731
    ids = tokens(messages)
    mask = [0] * len(ids)
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt, so_far = tokens(messages[:number], add_generation_prompt=True), tokens(messages[: number + 1])
            while so_far and not tokenizer.decode(so_far[-1]).strip():
                so_far.pop()
            assert ids[: len(prompt)] == prompt
            if ids[: len(so_far)] == so_far:
                mask[len(prompt) : len(so_far)] = [1] * (len(so_far) - len(prompt))
    return ids, mask


def random_chat(seed: int, *, tools: bool) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    words = ["light", "Oslo", " 7 ", "é", "it's", "“so”", "\n", "  ", "{", "1234", "naïve", "🙂", "tool_call", "\t"]
    said = lambda: "x" + "".join(chance.choice(words) + " " for _ in range(chance.randint(1, 9))) + "y"  # noqa: E731
    made = [{"role": "system", "content": said()}] if chance.random() < 0.5 else []
    for _ in range(chance.randint(1, 4)):
        made.append({"role": "user", "content": said()})
        if tools and chance.random() < 0.6:
            made.append({"role": "assistant", "content": "", "tool_calls": [call(1, arguments={"room": said()})]})
            made.append({"role": "tool", "tool_call_id": "abcdefgh1", "content": said(), "name": "set_light"})
        made.append({"role": "assistant", "content": said()})
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_one_pass_gives_the_tokens_and_the_mask_of_many(name: str) -> None:
    tokenizer = tokenizer_of(name)
    with_tools = name in WITH_TOOLS
    rows = [
        {"messages": random_chat(seed, tools=with_tools and seed % 2 == 0), "tools": [TOOL] if seed % 2 == 0 and with_tools else []}
        for seed in range(40)
    ]
    for row, found in zip(rows, examine_all(Encoder(tokenizer), rows), strict=True):
        assert isinstance(found, Encoded), found
        assert (found.ids, found.mask) == by_prefixes(tokenizer, row["messages"], row["tools"] or None)
        assert encode(tokenizer, row["messages"], row["tools"]) == found


@pytest.mark.parametrize("name", FAMILIES)
def test_without_the_family_the_mask_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_of(name)
    messages, tools = ([USER, CALLED, RESULT, DONE], [TOOL]) if name in WITH_TOOLS else ([SYSTEM, USER, AYE, USER, DONE], [])
    known = encode(tokenizer, messages, tools)
    monkeypatch.setattr("src.models.encoder.family", lambda *_: None)
    assert encode(tokenizer, messages, tools) == known


@pytest.mark.parametrize("arguments", ["object", "string"])
@pytest.mark.parametrize("name", WITH_TOOLS)
def test_calls_are_written_in_the_familys_syntax_and_read_back(name: str, arguments: str) -> None:
    import json

    wanted = {"room": 'the "attic"\nroom é', "on": True, "levels": [1, 2.5, None], "deep": {"a": {}}}
    given = wanted if arguments == "object" else json.dumps(wanted)
    several = name != "llama3_1"
    calls = [call(1, arguments=given), *([call(2, "now", {})] if several else [])]
    tokenizer = tokenizer_of(name)
    encoded = encode(tokenizer, [USER, {"role": "assistant", "content": None, "tool_calls": calls}], [TOOL, NOW])
    text = tokenizer.decode([number for number, learned in zip(encoded.ids, encoded.mask, strict=True) if learned])
    assert parse(text).calls == [{"name": "set_light", "arguments": wanted}, *([{"name": "now", "arguments": {}}] if several else [])]
    assert not parse(text).errors


def test_llama_says_so_where_two_calls_stand_in_one_turn() -> None:
    fault = examine(tokenizer_of("llama3_1"), {"messages": [USER, BOTH, RESULT, SECOND, DONE], "tools": [TOOL, NOW]})
    assert fault.reason == "parallel_calls_not_rendered"


@pytest.mark.parametrize("name", ["gemma3", "llama3", "chatml"])
def test_a_family_without_tools_says_so(name: str) -> None:
    assert examine(tokenizer_of(name), {"messages": [USER, CALLED], "tools": [TOOL]}).reason == "tools_not_rendered"


def test_vllm_is_told_how_each_family_writes_calls() -> None:
    parsers = {name: tool_parser(official(name)) for name in FAMILIES}
    assert parsers == {
        "llama3": None,
        "llama3_1": "llama3_json",
        "mistral_v03": "mistral",
        "qwen2_5": "hermes",
        "qwen3": "hermes",
        "gemma3": None,
        "chatml": None,
    }
