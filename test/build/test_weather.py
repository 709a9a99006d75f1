"""Weather dialogues: sound calls, grounded answers, every kind, and a test that training never saw."""

import json
import re
from collections import Counter
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from src.build.diversity import diversity
from src.build.grounded import ungrounded
from src.build.weather_dialogues import WeatherDialogues
from src.build.weather_dialogues.climate import UNITS, converted
from src.build.weather_dialogues.scene import KINDS, SEARCH, places, table, tools, twins
from src.models.conversation import fault_in

VOICE = ("Well, {answer}, and I would not bet against it.", "{answer}, they tell me.")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(WeatherDialogues(rows=1500, validation=60, test=300, heldout_tool="get_air_quality", voice=VOICE, system="").examples(7))


def said(row: dict[str, Any], role: str) -> list[str]:
    return [message["content"] for message in row["messages"] if message["role"] == role and message["content"]]


def calls(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [call["function"] for message in row["messages"] for call in message.get("tool_calls", ())]


def of(rows: list[dict[str, Any]], tag: str) -> list[dict[str, Any]]:
    return [row for row in rows if tag in row["tags"]]


def test_every_conversation_is_whole_and_every_call_fits_its_schema(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert fault_in(row["messages"], row["tools"]) is None
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row["tools"]}
        for call in calls(row):
            jsonschema.Draft202012Validator(offered[call["name"]]).validate(call["arguments"])


def test_every_answer_stands_on_results(rows: list[dict[str, Any]]) -> None:
    assert not [(row["id"], wrong) for row in rows if (wrong := ungrounded(row["messages"]))]
    for row in rows:  # names of places come from the user or a result
        given = " ".join([*said(row, "user"), *said(row, "tool")])
        for answer in said(row, "assistant"):
            # sentence starts, and names of scales and of the service's own error
            names = set(re.findall(r"(?<=[a-z,;:] )[A-Z][a-zà-ÿ]+", answer)) - {"European", "I", "Please"}
            assert all(name in given for name in names), answer


def test_ids_of_calls_and_results_agree_and_parallel_calls_share_a_message(rows: list[dict[str, Any]]) -> None:
    for row in of(rows, "kind:parallel"):
        at_once = [message["tool_calls"] for message in row["messages"] if message.get("tool_calls")]
        assert max(map(len, at_once)) >= 2
        assert [call["id"] for each in at_once for call in each] == [m["tool_call_id"] for m in row["messages"] if m["role"] == "tool"]


def test_a_place_is_looked_up_before_its_weather(rows: list[dict[str, Any]]) -> None:
    for row in of(rows, "kind:multi_step"):
        assert calls(row)[0]["name"] == SEARCH
        found = [place for text in said(row, "tool") for place in json.loads(text).get("results", ())]
        known = {(place["latitude"], place["longitude"]) for place in found}
        assert {(call["arguments"]["latitude"], call["arguments"]["longitude"]) for call in calls(row) if call["name"] != SEARCH} <= known


def test_each_kind_is_what_it_says(rows: list[dict[str, Any]]) -> None:
    kinds = Counter(tag for row in rows for tag in row["tags"] if tag.startswith("kind:"))
    assert set(kinds) == {f"kind:{kind}" for kind in KINDS}
    assert all(not calls(row) for row in of(rows, "kind:none"))
    assert all(len(calls(row)) == 1 for row in of(rows, "kind:single"))
    for row in of(rows, "kind:ask_back"):
        first = next(text for text in said(row, "assistant"))
        assert first.endswith("?") or "first" in first or "I will look" in first
        assert len(said(row, "user")) == 2 and calls(row)
    for row in of(rows, "kind:error"):
        failed = [
            result
            for text in said(row, "tool")
            if "error" in (result := json.loads(text)) or ("results" not in result and "daily" not in result)
        ]
        assert failed
        if reason := failed[0].get("reason"):
            assert reason.rstrip(".") in said(row, "assistant")[-1]


def test_the_held_out_tool_and_unseen_values_and_phrasings(rows: list[dict[str, Any]]) -> None:
    training = json.dumps([row for row in rows if row["split"] != "test"], ensure_ascii=False)
    assert "get_air_quality" not in training
    assert all(
        any(call["name"] == "get_air_quality" for call in calls(row)) for row in of(rows, "unseen:tool") if "kind:none" not in row["tags"]
    )
    names = [place.name for place in places("unseen")] + [pair[0].name for pair in twins("unseen")] + table("talk")["nowhere"]["unseen"]
    assert not [name for name in names if f'"{name}"' in training]
    for row in of(rows, "unseen:values"):
        assert all(call["arguments"]["name"] in names for call in calls(row) if call["name"] == SEARCH)
    asked = [ask.split("{")[0] for topic in table("topics") for ask in topic["ask_unseen"] if len(ask.split("{")[0]) > 16]
    assert asked and not [start for start in asked if start in training]


def test_no_row_comes_twice_and_no_request_of_the_test_was_trained(rows: list[dict[str, Any]]) -> None:
    keys = Counter(json.dumps([said(row, "user"), said(row, "assistant"), [t["function"]["name"] for t in row["tools"]]]) for row in rows)
    assert max(keys.values()) == 1
    asked = {split: {said(row, "user")[0] for row in rows if row["split"] == split and calls(row)} for split in ("train", "test")}
    assert not asked["train"] & asked["test"]


def test_the_same_seed_the_same_rows() -> None:
    few = WeatherDialogues(rows=30, validation=5, test=9)
    assert list(few.examples(1)) == list(few.examples(1)) != list(few.examples(2))
    many = WeatherDialogues(rows=60, validation=5, test=9)
    assert [r for r in few.examples(1) if r["split"] == "train"] == [r for r in many.examples(1) if r["split"] == "train"][:30]


def test_they_are_varied(rows: list[dict[str, Any]]) -> None:
    found = diversity(row for row in rows if row["split"] == "train")
    assert found["requests"]["different"] > 0.95 * found["requests"]["rows"] and found["requests"]["largest_template"] < 0.01
    assert found["answers"]["largest_template"] < 0.05 and found["requests"]["distinct_3"] > 0.25


def test_kinds_and_tools_are_settings() -> None:
    made = list(
        WeatherDialogues(rows=40, validation=0, test=0, kinds={"parallel": 1}, tools=("get_history",), tags={"persona": "twain"}).examples(
            1
        )
    )
    assert len(made) == 40 and all("kind:parallel" in row["tags"] and "persona:twain" in row["tags"] for row in made)
    assert all(call["name"] in (SEARCH, "get_history") for row in made for call in calls(row))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tools": ["get_forcast"]}, "did you mean 'get_forecast'"),
        ({"heldout_tool": "search_place"}, "not among the tools chosen"),
        ({"tools": ["get_history"], "heldout_tool": "get_history"}, "no tool is left"),
        ({"voice": ["Ahoy!"]}, "needs {answer}"),
        ({"voice": ["{answer}, 7 bells."]}, "states a number"),
        ({"kinds": {"single": 0}}, "weight above 0"),
    ],
)
def test_what_cannot_be_made_is_said(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        WeatherDialogues.model_validate(settings)


def test_tools_are_sound_and_units_convert() -> None:
    for tool in tools().values():
        parameters = tool["function"]["parameters"]
        jsonschema.Draft202012Validator.check_schema(parameters)
        assert all(each.get("description") and each.get("type") for each in parameters["properties"].values())
        for name in ("current", "daily"):
            assert set(parameters["properties"].get(name, {}).get("items", {}).get("enum", ())) <= set(UNITS)
    assert converted("temperature_2m", -40.0, {"temperature_unit": "fahrenheit"}) == (-40.0, "°F")
    assert converted("wind_speed_10m", 18.52, {"wind_speed_unit": "kn"}) == (10.0, "kn") and converted("pm10", 1, {}) == (1, "μg/m³")


def test_results_have_the_shape_of_recorded_ones(rows: list[dict[str, Any]], shared) -> None:
    recorded = json.loads((shared / "open_meteo/recorded/forecast_samara_2026-09-15.json").read_text())
    searched = json.loads((shared / "open_meteo/recorded/geocoding_samara_en.json").read_text())
    reasons = {each for part in json.loads((shared / "open_meteo/recorded/error_reasons.json").read_text()).values() for each in part}
    for row in rows:
        for result in map(json.loads, said(row, "tool")):
            if result.get("error"):
                assert result["reason"] in reasons
                continue
            model = searched if "results" in result or ("daily" not in result and "current" not in result) else recorded
            assert set(result) <= set(model)
            for block in ("current", "daily"):
                if block in result:
                    assert list(result[block]) == list(result[f"{block}_units"])
            for place in result.get("results", ()):
                assert set(place) <= set(searched["results"][0])
