"""Calls are right as the Berkeley leaderboard counts; each rule on a call of its own, and all on its published answers."""

import copy
import json

import pytest

from src.core.files import read_jsonl
from src.eval.accepted import accepted_of, is_of_type, mismatch
from src.eval.calls import fault
from src.models.tool_calls import parse

SCHEMA = {
    "type": "dict",
    "properties": {
        "day": {"type": "string"},
        "count": {"type": "integer"},
        "price": {"type": "float"},
        "loud": {"type": "boolean", "default": False},
        "points": {"type": "array", "items": {"type": "float"}},
        "where": {
            "type": "dict",
            "properties": {"city": {"type": "string"}, "spot": {"type": "dict", "properties": {"row": {"type": "integer"}}}},
        },
    },
    "required": ["day"],
}
TOOLS = [{"name": "book.seat", "parameters": SCHEMA}]
WANTED = {
    "book.seat": {
        "day": ["April 1, 2024", "tomorrow"],
        "count": [2, ""],
        "price": [3.0, ""],
        "loud": [False],
        "points": [[1.0, 2.5], ""],
        "where": [{"city": ["St. Louis"], "spot": [{"row": [4, 5]}, ""]}, ""],
    }
}


def wrong(name="book.seat", **arguments):
    return mismatch([WANTED], [{"name": name, "arguments": arguments}], TOOLS)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"day": "april 1 2024"}, ""),
        ({"day": "TOMORROW", "count": 2, "price": 3, "loud": False, "points": [1, 2.5]}, ""),
        ({"day": "tomorrow", "where": {"city": "st louis"}}, ""),
        ({"day": "tomorrow", "where": {"city": "st louis", "spot": {"row": 5}}}, ""),
        ({"day": "tomorrow", "points": []}, ""),
        ({}, "missing: day"),
        ({"day": "April 2"}, "value: day"),
        ({"day": 1}, "type: day"),
        ({"day": "tomorrow", "count": "2"}, "type: count"),
        ({"day": "tomorrow", "count": 2.0}, "type: count"),
        ({"day": "tomorrow", "count": True}, "type: count"),
        ({"day": "tomorrow", "loud": 0}, "type: loud"),
        ({"day": "tomorrow", "loud": True}, "value: loud"),
        ({"day": "tomorrow", "points": [2.5, 1]}, "value: points"),
        ({"day": "tomorrow", "points": ["1", 2.5]}, "type: points"),
        ({"day": "tomorrow", "where": {"city": "Boston"}}, "value: where"),
        ({"day": "tomorrow", "where": {"city": "St. Louis", "spot": {"row": "5"}}}, "type: where"),
        ({"day": "tomorrow", "where": {"city": "St. Louis", "zip": 1}}, "value: where"),
        ({"day": "tomorrow", "where": {"spot": {"row": 5}}}, "value: where"),
        ({"day": "tomorrow", "speed": 1}, "extra: speed"),
    ],
)
def test_one_call(arguments, why):
    found = wrong(**arguments)
    assert found.startswith(why) and bool(found) == bool(why)


def test_names_are_exact_but_for_the_dot_that_an_api_does_not_take():
    assert wrong("book_seat", day="tomorrow") == ""
    assert wrong("seat", day="tomorrow") == "name: seat instead of book.seat"
    assert wrong("Book.seat", day="tomorrow").startswith("name: ")


def test_what_may_not_be_left_out_is_missed_unless_the_default_says_it():
    tools = [{"name": "f", "parameters": {"properties": {"x": {"type": "integer", "default": 1}, "y": {"type": "integer"}}}}]
    assert mismatch([{"f": {"y": [2]}}], [{"name": "f", "arguments": {}}], tools) == "missing: y"
    assert mismatch([{"f": {"x": [1]}}], [{"name": "f", "arguments": {}}], tools) == ""
    assert mismatch([{"f": {"x": [3]}}], [{"name": "f", "arguments": {}}], tools) == "missing: x"
    assert mismatch([{"f": {}}], [{"name": "f", "arguments": {"x": 1}}], tools) == ""
    assert mismatch([{"f": {}}], [{"name": "f", "arguments": {"x": 3}}], tools) == "extra: x"
    assert mismatch([{"f": {"x": ["", 3]}}], [{"name": "f", "arguments": {"x": 1}}], tools) == ""


def test_parallel_calls_are_paired_as_well_as_can_be():
    wanted = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]
    calls = [{"name": "f", "arguments": {"x": number}} for number in (1, 2)]
    assert mismatch(wanted, calls, []) == ""  # whoever takes the first that fits leaves nothing for the second
    assert mismatch(wanted, calls[::-1], []) == ""
    assert mismatch(wanted, [calls[1], calls[1]], []).startswith("value: x: 2 is none of [1]")
    assert mismatch(wanted[1:] * 2, calls, []) == "value: x: 2 is none of [1]"  # not the fault of the call that fits
    assert mismatch(wanted, calls[:1], []) == "count: 1 calls instead of 2"
    assert mismatch([], [], []) == ""


def test_a_call_accepts_itself_whatever_it_holds():
    call = {"name": "f", "arguments": {"a": {"b": [{"c": 1}, None]}, "d": "X-1", "e": [[1, 2], []], "g": True}}
    assert mismatch([accepted_of(call)], [call], []) == ""
    assert mismatch([accepted_of(call)], [{**call, "arguments": {**call["arguments"], "g": 1}}], []) != ""


def test_types_with_several_kinds():
    assert is_of_type(None, {"type": ["string", "null"]})
    assert not is_of_type(1, {"type": ["string", "null"]})
    assert not is_of_type(True, {"type": "number"})
    assert is_of_type(object(), {}) and is_of_type(True, {"type": "any"})


def answers(row, function):
    """Every accepted call that differs from the first in one argument, and the fewest and most arguments."""
    [(name, wanted)] = row["ground_truth"][0].items()
    required = function["parameters"].get("required") or ()
    full = {key: plain(next(value for value in values if value != "")) for key, values in wanted.items() if set(map(str, values)) != {""}}
    yield {"name": name, "arguments": full}
    yield {"name": name, "arguments": {key: value for key, value in full.items() if "" not in wanted[key] or key in required}}
    for key, values in wanted.items():
        yield from ({"name": name, "arguments": {**full, key: plain(value)}} for value in values if value != "")


def plain(value):
    if isinstance(value, dict):
        return {key: plain(values[0]) for key, values in value.items() if values[0] != ""}
    return [plain(each) for each in value] if isinstance(value, list) else value


OTHER = {str: 7, int: "seven", float: "seven", bool: "yes", list: "none", dict: "none"}


def corruptions(call, row, function):
    """One of each: wrong name, missing required, wrong type, an argument too many, another value."""
    [(_, wanted)] = row["ground_truth"][0].items()
    name, arguments = call["name"], call["arguments"]
    yield "name", {"name": f"{name}_now", "arguments": arguments}
    yield "extra", {"name": name, "arguments": {**arguments, "unasked_for": 1}}
    for key in function["parameters"].get("required") or ():
        yield "missing", {"name": name, "arguments": {other: value for other, value in arguments.items() if other != key}}
    for key, value in arguments.items():
        yield "type", {"name": name, "arguments": {**arguments, key: OTHER[type(value)]}}
        if (swapped := other_value(value)) not in wanted[key]:
            yield "value", {"name": name, "arguments": {**arguments, key: swapped}}


def other_value(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"not {value}"
    return [*value, copy.deepcopy(value[0])] if isinstance(value, list) and value else {"unlike": "this"}


def published(shared, part):
    questions = {row["id"]: row for row in read_jsonl(shared / f"bfcl/BFCL_v4_{part}.json")}
    for row in read_jsonl(shared / f"bfcl/possible_answer/BFCL_v4_{part}.json"):
        tools = questions[row["id"]]["function"]
        yield row, tools, next(tool for tool in tools if tool["name"] in row["ground_truth"][0])


@pytest.mark.parametrize("part", ["simple_python", "multiple"])
def test_published_answers_are_accepted_and_corrupted_ones_rejected(shared, part):
    accepted, refused, let_through = 0, [], []
    for row, tools, function in published(shared, part):
        for call in answers(row, function):
            [said] = parse(f"<tool_call>{json.dumps(call)}</tool_call>").calls
            found = mismatch(row["ground_truth"], [said], tools)
            accepted += not found
            refused += [(row["id"], found)] if found else []
        first = next(answers(row, function))
        broken = list(corruptions(first, row, function))
        let_through += [(row["id"], kind, call) for kind, call in broken if not mismatch(row["ground_truth"], [call], tools)]
        assert len(broken) >= 3
    assert accepted > 600
    assert refused == []
    assert let_through == []


def test_schemas_in_the_words_of_python_are_understood(shared):
    checked = [
        fault(call, [function]) for row, _, function in published(shared, "simple_python") for call in [next(answers(row, function))]
    ]
    assert sum(not each for each in checked) / len(checked) >= 0.99
    assert not any("schema is broken" in each for each in checked)


def test_no_call_is_right_where_no_function_is_relevant(shared, evidence):
    from src.eval.cases import Case
    from src.eval.tool_calls import ToolCalls

    cases, silent, calling = [], {}, {}
    for row in read_jsonl(shared / "bfcl/BFCL_v4_irrelevance.json"):
        said = {"role": "assistant", "content": "None of my tools can do that."}
        cases.append(Case(f"{row['id']}#1", row["id"], row["id"], (), row["question"][0], row["function"], said))
        silent[cases[-1].id] = said["content"]
        name = row["function"][0]["name"] if row["function"] else "any"
        calling[cases[-1].id] = f'<tool_call>{{"name": "{name}", "arguments": {{}}}}</tool_call>'
    finding = ToolCalls().score(evidence(cases, {"base": calling, "tuned": silent}))
    [relevance] = [measure for measure in finding.measures if measure.name == "tool_calls.relevance"]
    assert len(relevance.rows["tuned"]) >= 230
    assert {row.value for row in relevance.rows["tuned"]} == {1.0}
    assert {row.value for row in relevance.rows["base"]} == {0.0}
