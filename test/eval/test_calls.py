"""A call is right where its JSON is the same as the one expected and the tool's schema takes it."""

import pytest

from src.core.files import read_jsonl, to_json
from src.eval.calls import difference, fault, function_of, same, same_calls, schema_fault
from src.models.tool_calls import parse


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        (True, True, True),
        ("1", 1, False),
        ([1, 2], [2, 1], False),
        ([1, 2], [1], False),
        ({"a": {"b": [True]}}, {"a": {"b": [1]}}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        (None, None, True),
        (None, 0, False),
        ("Hall", "hall", False),
    ],
)
def test_same_is_json_equality(one, other, equal):
    assert same(one, other) is equal
    assert same(other, one) is equal


def test_an_argument_left_out_equals_its_default_at_any_depth(tool):
    schema = {"properties": {"where": {"type": "object", "properties": {"floor": {"default": 0}, "room": {}}}, "n": {"default": 1}}}
    assert same({"where": {"room": "a"}}, {"where": {"room": "a", "floor": 0}, "n": 1}, schema)
    assert not same({"where": {"room": "a"}}, {"where": {"room": "a", "floor": 1}}, schema)
    assert same([{"room": "a"}], [{"room": "a", "floor": 0}], {"items": schema["properties"]["where"]})
    one = {"name": "set_light", "arguments": {"room": "hall", "level": 3}}
    assert same_calls([one], [{**one, "arguments": {**one["arguments"], "colour": "white"}}], [tool])
    assert not same_calls([one], [{**one, "arguments": {**one["arguments"], "colour": "red"}}], [tool])


def test_parallel_calls_have_no_order_but_a_number():
    a, b = {"name": "f", "arguments": {"x": 1}}, {"name": "f", "arguments": {"x": 2}}
    assert same_calls([a, b], [b, a], [])
    assert not same_calls([a, b], [a, a], [])
    assert not same_calls([a], [a, a], [])
    assert not same_calls([a, a], [a], [])


def test_faults_name_what_does_not_fit(tool):
    def call(**arguments):
        return fault({"name": "set_light", "arguments": arguments}, [tool])

    assert call(room="hall", level=3) == ""
    assert call(room="hall", level=11) == "level: 11 is greater than the maximum of 10"
    assert call(room="hall") == "'level' is a required property"
    assert "'speed' was unexpected" in call(room="hall", level=1, speed=2)
    assert call(room=1, level=1) == "room: 1 is not of type 'string'"
    assert fault({"name": "fly", "arguments": {}}, [tool]) == "fly is not among the tools offered"
    assert fault({"name": "now", "arguments": {"anything": 1}}, [{"name": "now"}]) == ""


def test_broken_schemas_are_faults_of_the_tool():
    assert schema_fault({}, {"type": "dict"}).startswith("the tool's own schema is broken")
    assert schema_fault({"a": 1}, {"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}).startswith(
        "the tool's own schema points nowhere"
    )


def test_differences_in_words(tool):
    wanted = [{"name": "set_light", "arguments": {"room": "hall", "level": 3}}]
    assert difference(wanted, wanted, [tool]) == ""
    assert difference(wanted, [], [tool]) == "calls nothing instead of set_light"
    assert difference(wanted, [{"name": "fly", "arguments": {}}], [tool]) == "calls fly instead of set_light"
    got = [{"name": "set_light", "arguments": {"room": "den", "level": 3, "colour": "red"}}]
    assert difference(wanted, got, [tool]) == "room: 'den' instead of 'hall'; colour: 'red' instead of nothing"
    assert difference(wanted * 2, [*wanted, *got], [tool]) == "other arguments"


TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


def as_schema(value):
    """The leaderboard's types in JSON Schema's words."""
    if isinstance(value, list):
        return [as_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: as_schema(each) for key, each in value.items()}
    if isinstance(made.get("type"), str):
        made["type"] = TYPES.get(made["type"], made["type"])
    return {key: each for key, each in made.items() if key not in ("type", "optional") or (key == "type" and each)}


def accepted(truth):
    """A call out of accepted answers: of each argument the first that is no `may be left out`."""
    [(name, arguments)] = truth.items()
    return {"name": name, "arguments": {key: first(values) for key, values in arguments.items() if values[0] != ""}}


def first(values):
    value = values[0]
    return {key: first(each) for key, each in value.items() if each[0] != ""} if isinstance(value, dict) else value


@pytest.mark.parametrize("part", ["simple_python", "multiple"])
def test_accepted_answers_of_a_public_benchmark_are_right(shared, part):
    questions = {row["id"]: row for row in read_jsonl(shared / f"bfcl/BFCL_v4_{part}.json")}
    checked = 0
    for row in read_jsonl(shared / f"bfcl/possible_answer/BFCL_v4_{part}.json"):
        tools = [{**function_of(tool), "parameters": as_schema(tool["parameters"])} for tool in questions[row["id"]]["function"]]
        call = accepted(row["ground_truth"][0])
        parsed = parse(f"<tool_call>{to_json(call)}</tool_call>")
        assert parsed.calls == [call]
        assert same_calls([call], parsed.calls, tools)
        checked += not fault(parsed.calls[0], tools)
    assert checked / len(questions) >= 0.99
