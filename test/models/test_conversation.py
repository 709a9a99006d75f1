"""Each fault of a conversation, on a row that has just that one."""

import pytest

from src.models.conversation import fault_in, faults_in

USER = {"role": "user", "content": "Light on"}
DONE = {"role": "assistant", "content": "Done."}
PARAMETERS = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}
TOOL = {"type": "function", "function": {"name": "set_light", "parameters": PARAMETERS}}
OTHER = {"type": "function", "function": {"name": "get_time"}}


def call(arguments: object = None, name: str = "set_light", call_id: str | None = "c1") -> dict:
    arguments = {"room": "attic"} if arguments is None else arguments
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*each: dict) -> dict:
    return {"role": "assistant", "content": None, "tool_calls": list(each)}


def result(call_id: str | None = "c1") -> dict:
    return {"role": "tool", "content": "ok"} | ({"tool_call_id": call_id} if call_id else {})


@pytest.mark.parametrize(
    ("reason", "messages", "tools"),
    [
        ("last_not_assistant", [USER], []),
        ("no_user", [{"role": "system", "content": "Be."}, DONE], []),
        ("no_user", [], []),
        ("unknown_role", [{"role": "bot", "content": "x"}, USER, DONE], []),
        ("content_not_text", [{"role": "user", "content": [{"type": "image"}]}, DONE], []),
        ("empty_message", [USER, {"role": "assistant", "content": " "}], []),
        ("empty_message", [{"role": "user", "content": None}, DONE], []),
        ("system_not_first", [USER, {"role": "system", "content": "Be."}, DONE], []),
        ("unknown_tool", [USER, calls(call())], []),
        ("unknown_tool", [USER, calls(call(name="fly"))], [TOOL]),
        ("arguments_not_object", [USER, calls(call('{"room": "attic"}'))], [TOOL]),
        ("arguments_invalid", [USER, calls(call({"room": 5}))], [TOOL]),
        ("arguments_invalid", [USER, calls(call({}))], [TOOL]),
        ("tool_result_unmatched", [USER, result(), DONE], [TOOL]),
        ("tool_result_unmatched", [USER, calls(call()), result("c2"), DONE], [TOOL]),
        ("call_unanswered", [USER, calls(call()), DONE], [TOOL]),
        ("call_unanswered", [USER, calls(call(), call(call_id="c2")), result(), DONE], [TOOL]),
        ("tool_twice", [USER, DONE], [TOOL, TOOL]),
        ("tool_invalid", [USER, DONE], [{"type": "function", "function": {"name": "x", "parameters": {"type": "dict"}}}]),
        ("tool_invalid", [USER, DONE], [{"type": "function", "function": {"name": "x", "parameters": ["y"]}}]),
        ("tool_invalid", [USER, DONE], [{"type": "function", "function": {"description": "nameless"}}]),
    ],
)
def test_fault(reason: str, messages: list, tools: list) -> None:
    assert reason in {fault.reason for fault in faults_in(messages, tools)}
    assert fault_in(messages, tools)


@pytest.mark.parametrize(
    ("messages", "tools"),
    [
        ([USER, DONE], []),
        ([USER, calls(call())], [TOOL]),
        ([USER, calls(call()), result(), DONE], [TOOL]),
        ([USER, calls(call(), call(call_id="c2")), result("c2"), result("c1"), DONE], [TOOL]),
        ([USER, calls(call(call_id=None)), result(None), DONE], [TOOL]),
        ([USER, calls(call({}, "get_time"))], [TOOL, OTHER]),
        ([USER, calls(call()), {"role": "tool", "tool_call_id": "c1", "content": ""}, DONE], [TOOL]),
    ],
)
def test_sound(messages: list, tools: list) -> None:
    assert fault_in(messages, tools) is None
