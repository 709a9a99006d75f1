"""Calls are read in every form, and what cannot be read is named instead of raised."""

import json
import random

import pytest

from src.models.tool_calls import parse

LIGHT = {"name": "set_light", "arguments": {"room": "hall", "on": True}}


def test_plain_words_are_no_call():
    parsed = parse("  Well, I never.\n")
    assert (parsed.content, parsed.calls, parsed.errors) == ("Well, I never.", [], [])
    assert parse("").content is None


def test_hermes_one_and_several_with_words_around():
    one = f"<tool_call>\n{json.dumps(LIGHT)}\n</tool_call>"
    assert parse(one).calls == [LIGHT]
    assert parse(one).content is None
    both = parse(f"Let me look. {one}\n<tool_call>{json.dumps({'name': 'now', 'arguments': {}})}</tool_call><|im_end|>")
    assert both.content == "Let me look."
    assert both.calls == [LIGHT, {"name": "now", "arguments": {}}]
    assert both.errors == []


@pytest.mark.parametrize("text", ["<tool_call>{}", "<tool_call>{}<tool_call>{}</tool_call>"])
def test_an_unclosed_call_is_read_and_listed(text):
    parsed = parse(text.replace("{}", json.dumps(LIGHT)))
    assert parsed.calls[0] == LIGHT
    assert parsed.errors == ["<tool_call> is not closed"]


def test_llama_alone_and_after_the_python_tag():
    text = '{"name": "set_light", "parameters": {"room": "hall", "on": true}}'
    assert parse(text).calls == [LIGHT]
    assert parse(f"<|python_tag|>{text}<|eom_id|>").calls == [LIGHT]
    assert parse(f"{text}; {text}").calls == [LIGHT, LIGHT]
    assert parse(text).content is None


def test_llama_json_that_is_no_call_stays_an_answer():
    for text in ('{"name": "Sawyer", "age": 12}', '{"a": 1} and more', "[1, 2]", "17", '{"name": 3, "parameters": {}}'):
        assert (parse(text).content, parse(text).calls, parse(text).errors) == (text, [], [])


def test_python_tag_before_code_is_a_fault():
    parsed = parse("<|python_tag|>print(1)")
    assert parsed.calls == []
    assert parsed.errors[0].startswith("not valid JSON")


def test_mistral_lists_and_named_forms():
    assert parse(f"[TOOL_CALLS] [{json.dumps(LIGHT)}]</s>").calls == [LIGHT]
    assert parse('Sure.[TOOL_CALLS]set_light{"room": "hall", "on": true}').calls == [LIGHT]
    named = parse('[TOOL_CALLS]set_light[ARGS]{"room": "hall", "on": true}[TOOL_CALLS]now[ARGS]{}')
    assert named.calls == [LIGHT, {"name": "now", "arguments": {}}]
    assert parse(f"[{json.dumps(LIGHT)}]").calls == [LIGHT]  # the mark is a special token, and may have been dropped


def test_arguments_in_a_string_become_an_object():
    call = {"name": "set_light", "arguments": json.dumps(LIGHT["arguments"])}
    assert parse(f"<tool_call>{json.dumps(call)}</tool_call>").calls == [LIGHT]
    assert parse('<tool_call>{"name": "now", "arguments": ""}</tool_call>').calls == [{"name": "now", "arguments": {}}]
    assert parse('<tool_call>{"type": "function", "function": {"name": "now"}}</tool_call>').calls == [{"name": "now", "arguments": {}}]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"name": "f", "arguments": {"a": 1}', "not valid JSON: Expecting ',' delimiter"),
        ('{"name": "f", "arguments": [1]}', "f: arguments are no JSON object"),
        ('{"name": "f", "arguments": "oops"}', "f: arguments are no JSON object"),
        ('{"arguments": {}}', "a call without a name"),
        ('{"name": "", "arguments": {}}', "a call without a name"),
        ('"f"', "a call without a name"),
        ('{"name": "f", "arguments": {"a": NaN}}', "not valid JSON: NaN is no JSON value"),
        ("  ", "a call without content"),
    ],
)
def test_faults_are_listed(body, error):
    parsed = parse(f"<tool_call>{body}</tool_call>")
    assert parsed.calls == []
    assert parsed.errors[0].startswith(error)


def test_one_bad_call_does_not_lose_the_good_one():
    parsed = parse(f"<tool_call>{{oops</tool_call>{'<tool_call>'}{json.dumps(LIGHT)}</tool_call>")
    assert parsed.calls == [LIGHT]
    assert len(parsed.errors) == 1


def test_raw_newlines_in_strings_are_let_pass():
    assert parse('<tool_call>{"name": "say", "arguments": {"text": "a\nb"}}</tool_call>').calls[0]["arguments"]["text"] == "a\nb"


def test_never_raises():
    chance = random.Random(0)
    pieces = [
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "<|python_tag|>",
        *'{}[]",:;\\ \n',
        '"name"',
        '"arguments"',
        "f",
        "1",
        "\ud800",
    ]
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 12)))
        parsed = parse(text)
        assert all(isinstance(call["arguments"], dict) for call in parsed.calls)
    parse("<tool_call>" + "[" * 100_000)
    parse("<tool_call>" + "1" * 10_000)
