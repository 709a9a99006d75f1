"""Thoughts that are not whole have a name, and one that is whole is learned where it will be served."""

import pytest

from src.models.encoder import Encoder
from src.models.lessons import lessons
from src.models.template import encode, examine
from src.models.thoughts import thinks, thought_faults, without_thoughts

from .families import tokenizer_of

USER = {"role": "user", "content": "Light on"}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


def said(content, **more):
    return {"role": "assistant", "content": content, **more}


CALLED = {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "now", "arguments": {}}}]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "12:00"}


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("think_unclosed", said("<think>hm Done")),
        ("think_unopened", said("hm</think>Done")),
        ("think_twice", said("<think>a</think><think>b</think>Done")),
        ("think_twice", said("</think>a<think>Done")),
        ("think_twice", said("<think>a</think>Done", reasoning_content="b")),
        ("think_not_first", said("Well. <think>a</think>Done")),
        ("think_without_answer", said("<think>a</think>\n")),
    ],
)
def test_faults(reason, message):
    assert [fault.reason for fault in thought_faults([USER, message])] == [reason]
    assert examine(tokenizer_of("qwen3"), {"messages": [USER, message]}).reason == reason


@pytest.mark.parametrize(
    "message", [said("Done"), said("\n<think>\na\n</think>\n\nDone"), said("<think>a</think>", **CALLED), USER | {"content": "</think>?"}]
)
def test_sound(message):
    assert not list(thought_faults([message]))


def test_thoughts_are_told_from_empty_ones_and_taken_out():
    assert thinks(said("<think>a</think>b")) and thinks(said("b", reasoning_content="a"))
    assert not thinks(said("<think>\n\n</think>\n\nb")) and not thinks(USER | {"content": "<think>a</think>"})
    given = [USER, said("<think>\na\n</think>\n\nb"), said("<think>a</think>", **CALLED), said("c", reasoning_content="x")]
    assert [message["content"] for message in without_thoughts(given)] == ["Light on", "b", None, "c"]
    assert "reasoning_content" not in without_thoughts(given)[3] and given[1]["content"].startswith("<think>")


def test_a_template_that_leaves_thoughts_out_says_so():
    row = {"messages": [USER, said("Done", reasoning_content="hm")]}
    assert examine(tokenizer_of("chatml"), row).reason == "thoughts_not_rendered"
    assert not hasattr(examine(tokenizer_of("qwen3"), row), "reason")


def test_every_turn_of_qwen3_is_learned_once_as_it_is_served():
    tokenizer = tokenizer_of("qwen3")
    encoder = Encoder(tokenizer)
    messages = [
        USER,
        said("<think>\none\n</think>\n\nAye"),
        USER,
        said("", **CALLED),
        RESULT,
        said("Noon"),
        USER,
        said("Bye", reasoning_content="two"),
    ]
    whole = encode(tokenizer, messages, [TOOL])
    assert whole.unlearned == (1, 3, 5)
    found = dict(lessons(encoder, messages, [TOOL], whole))
    assert list(found) == [1, 3, 5]

    def learned(encoded):
        return tokenizer.decode([number for number, mark in zip(encoded.ids, encoded.mask, strict=True) if mark])

    empty = "<think>\n\n</think>\n\n"
    assert learned(found[1]) == "<think>\none\n</think>\n\nAye<|im_end|>"
    assert learned(found[3]) == empty + '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call><|im_end|>'
    assert learned(found[5]) == empty + "Noon<|im_end|>"
    assert learned(whole) == "<think>\ntwo\n</think>\n\nBye<|im_end|>"
    # what is learned follows the very prompt that a server sends
    for number, encoded in found.items():
        prompt = tokenizer.apply_chat_template(messages[:number], tools=[TOOL], add_generation_prompt=True, return_dict=False)
        assert encoded.ids[: len(prompt)] == prompt and encoded.mask.index(1) == len(prompt)


def test_a_turn_that_a_longer_lesson_teaches_is_not_learned_again():
    tokenizer = tokenizer_of("qwen3")
    called = said("", **CALLED, reasoning_content="look")
    messages = [USER, called, RESULT, said("Noon", reasoning_content="so"), USER, said("Bye")]
    whole = encode(tokenizer, messages, [TOOL])
    assert whole.unlearned == (1, 3)
    assert [number for number, _ in lessons(Encoder(tokenizer), messages, [TOOL], whole)] == [3]
