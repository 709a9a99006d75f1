"""Tool dialogues: calls that fit their schemas, answers that fit their results, and a test that training never saw."""

import json
import re
from collections import Counter
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from src.build.catalogue import schema, table
from src.build.tools import ToolDialogues, catalogue

EVERYDAY = ToolDialogues(rows=600, validation=40, test=120, heldout_tool="book_hotel")
WEATHER = ToolDialogues(rows=300, validation=20, test=90, tools=("weather",), heldout_tool="get_air_quality", offered=4)


@pytest.fixture(scope="module", params=[EVERYDAY, WEATHER], ids=["everyday", "weather"])
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return list(request.param.examples(7))


def split(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["split"] == name]


def calls(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [call["function"] for message in row["messages"] for call in message.get("tool_calls", ())]


def asked(row: dict[str, Any]) -> str:
    return next(str(message["content"]) for message in row["messages"] if message["role"] == "user")


def frame(row: dict[str, Any]) -> str:
    """The request with its values taken out."""
    words = {word for pool in table("values").values() for part in pool.values() for word in part}
    places = {place[0] for part in table("weather")["places"].values() for place in part}
    words |= places | {name for part in table("weather")["nowhere"].values() for name in part} | {"on", "off"}
    return re.sub(r"\b(" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + r"|\d+)(?!\w)", "_", asked(row))


def test_every_call_fits_the_schema_of_an_offered_tool(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
        for call in calls(row):
            assert isinstance(call["arguments"], dict)
            jsonschema.Draft202012Validator(offered[call["name"]]).validate(call["arguments"])


def test_every_result_answers_the_call_before_it(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for before, message in zip(row["messages"], row["messages"][1:], strict=False):
            if message["role"] == "tool":
                assert message["tool_call_id"] == before["tool_calls"][0]["id"]
                assert isinstance(json.loads(message["content"]), dict)
        assert row["messages"][-1]["role"] == "assistant"


def test_an_answer_states_only_numbers_and_names_of_the_result(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "kind:result" in row["tags"]:
            given = " ".join(message["content"] for message in row["messages"] if message["role"] in ("tool", "user"))
            results = " ".join(message["content"] for message in row["messages"] if message["role"] == "tool")
            answer = row["messages"][-1]["content"].rstrip(".")
            assert set(re.findall(r"\d+(?:\.\d+)?", answer)) <= set(re.findall(r"\d+(?:\.\d+)?", results))
            assert set(re.findall(r"(?<!^)\b[A-Z]\w+", answer)) - {"European"} <= set(re.findall(r"\w+", given))


def test_the_held_out_tool_stands_in_test_rows_only(rows: list[dict[str, Any]]) -> None:
    heldout = "book_hotel" if any("book_train" in json.dumps(row) for row in rows) else "get_air_quality"
    assert heldout not in json.dumps([row for row in rows if row["split"] != "test"])
    unseen = [row for row in split(rows, "test") if "unseen:tool" in row["tags"] and "kind:none" not in row["tags"]]
    assert unseen
    assert all(calls(row)[-1]["name"] == heldout for row in unseen if "was found" not in str(row["messages"][-1]["content"]))


def test_unseen_values_never_stand_in_training(rows: list[dict[str, Any]]) -> None:
    trained = json.dumps([[asked(row), [call["arguments"] for call in calls(row)]] for row in split(rows, "train")], ensure_ascii=False)
    for row in split(rows, "test"):
        if "unseen:values" in row["tags"]:
            for call in calls(row)[:1]:
                enums = {name for name, each in catalogue()[call["name"]]["parameters"].items() if "enum" in each}
                drawn = {value for name, value in call["arguments"].items() if name not in enums and name != "count"}
                assert not [value for value in drawn if isinstance(value, str) and f'"{value}"' in trained]


def test_unseen_numbers_never_are_an_argument_in_training() -> None:
    for row in EVERYDAY.examples(7):
        numbers = [value for call in calls(row) for value in call["arguments"].values() if isinstance(value, int)]
        if row["split"] == "train":
            assert all(number % 5 != 2 for number in numbers)
        elif "unseen:values" in row["tags"]:
            assert all(number % 5 == 2 for number in numbers)


def test_unseen_phrasings_never_stand_in_training(rows: list[dict[str, Any]]) -> None:
    trained = {frame(row) for row in split(rows, "train")}
    unseen = [row for row in split(rows, "test") if "unseen:phrasing" in row["tags"]]
    assert unseen
    assert not [row for row in unseen if frame(row) in trained]


def test_no_row_comes_twice_in_any_split(rows: list[dict[str, Any]]) -> None:
    assert max(Counter(row["id"] for row in rows).values()) == 1
    keys = Counter(json.dumps([asked(row), calls(row), row["messages"][-1]["content"], row["tools"]]) for row in rows)
    prompts = {name: {(asked(row), json.dumps(row["tools"])) for row in split(rows, name)} for name in ("train", "test")}
    assert sum(keys.values()) == len(rows)
    assert not prompts["train"] & prompts["test"]


def test_the_same_seed_gives_the_same_rows_and_another_does_not() -> None:
    few = ToolDialogues(rows=20, validation=5, test=9, heldout_tool="set_timer")
    assert list(few.examples(1)) == list(few.examples(1))
    assert list(few.examples(1)) != list(few.examples(2))


def test_more_training_rows_leave_the_test_as_it_is() -> None:
    few, many = (ToolDialogues(rows=rows, validation=0, test=20) for rows in (10, 200))
    assert split(list(few.examples(1)), "test") == split(list(many.examples(1)), "test")


def test_counts_and_shares_are_as_asked() -> None:
    rows = list(ToolDialogues(rows=400, validation=10, test=30, no_tool=0.25, results=0.5, heldout_tool="set_light").examples(0))
    assert Counter(row["split"] for row in rows) == {"train": 400, "validation": 10, "test": 30}
    kinds = Counter(row["tags"][1] for row in split(rows, "train"))
    assert 70 < kinds["kind:none"] < 130
    assert 110 < kinds["kind:result"] < 190
    assert Counter(tag for row in split(rows, "test") for tag in row["tags"][2:]).keys() == {
        "unseen:values",
        "unseen:phrasing",
        "unseen:tool",
    }


def test_a_voice_words_the_answers_and_no_calls() -> None:
    rows = list(ToolDialogues(rows=80, validation=0, test=0, voice=("ahoy, {answer}!",), results=1.0).examples(0))
    answers = [row["messages"][-1]["content"] for row in rows]
    assert all(answer.startswith("Ahoy, ") and answer.endswith("!") for answer in answers)


def test_a_small_catalogue_runs_dry_instead_of_repeating_itself() -> None:
    rows = list(ToolDialogues(rows=5000, validation=0, test=0, tools=("set_light",), no_tool=0, results=0).examples(0))
    assert 150 < len(rows) <= 10 * 11 * 2  # phrasings, rooms, states


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tools": ["set_ligth"]}, "did you mean 'set_light'"),
        ({"tools": ["home"], "heldout_tool": "book_train"}, "not among the tools chosen"),
        ({"tools": ["set_light"], "heldout_tool": "set_light"}, "no tool is left"),
        ({"voice": ["Ahoy!"]}, "needs {answer}"),
        ({"row": 3}, "row"),
    ],
)
def test_what_cannot_be_made_is_said(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        ToolDialogues.model_validate(settings)


def test_every_tool_of_the_catalogue_is_a_sound_schema_with_described_parameters() -> None:
    for tool in catalogue().values():
        function = schema(tool)["function"]
        jsonschema.Draft202012Validator.check_schema(function["parameters"])
        assert function["description"]
        assert all(each.get("description") and each.get("type") for each in function["parameters"]["properties"].values())
        assert set(function["parameters"]["required"]) <= set(function["parameters"]["properties"])


def test_held_out_and_shown_values_and_phrasings_do_not_overlap() -> None:
    for pool in table("values").values():
        assert not set(pool["seen"]) & set(pool["unseen"])
    for tool in table("everyday"):
        assert not set(tool["ask"]) & set(tool["ask_unseen"])
    for question in table("weather")["questions"]:
        assert not set(question["ask"]) & set(question["ask_unseen"])


def test_made_up_names_stand_in_list_and_call_alike_and_in_training_only() -> None:
    rows = list(ToolDialogues(rows=60, validation=9, test=9, renamed=1.0).examples(0))
    for row in rows:
        offered = {tool["function"]["name"] for tool in row["tools"]}
        assert {call["name"] for call in calls(row)} <= offered
        assert bool(offered & catalogue().keys()) == (row["split"] != "train")
