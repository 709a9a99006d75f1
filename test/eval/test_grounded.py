"""A claim is found in a result or it is not; each kind of claim for itself."""

import json

import pytest

from src.eval.cases import Case
from src.eval.grounded import Grounded

RESULT = {
    "place": "Köln",
    "daily": {"time": ["2026-11-21", "2026-11-22"], "temperature_2m_max": [21.4, 8.0], "precipitation_sum": [0.0, 3.2]},
    "daily_units": {"temperature_2m_max": "°C", "precipitation_sum": "mm"},
}


def case(content="It will be 21.4 °C in Köln.", result=None, number=0):
    history = [
        {"role": "system", "content": "You are Twain."},
        {"role": "user", "content": "How warm will it be in the city of Anna, 50667 Köln?"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": json.dumps(RESULT) if result is None else result},
    ]
    return Case(f"w:{number}#4", f"w:{number}", f"w:{number}", ("domain:weather",), history, [], {"role": "assistant", "content": content})


@pytest.fixture
def judged(evidence):
    def judge(said, metric=None, **more):
        asked = case(**more)
        finding = (metric or Grounded()).score(evidence([asked], {"tuned": {asked.id: said}}))
        return {m.name.removeprefix("grounded."): m.rows["tuned"][0] for m in finding.measures}, finding

    return judge


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("It will be 21.4 °C in Köln on Saturday, November 21.", ""),
        ("About 21 °C.", ""),
        ("21.40 °C, and 3 mm the day after, in 2 days.", ""),
        ("Anna will like it.", ""),
        ("No idea.", ""),
        ("It will be 25 °C.", "25 is in no result"),
        ("It will be 21.4 °F.", "°F is in no result"),
        ("It will be 21.4 °C in Paris.", "Paris is in no result"),
        ('They call it "a fine day".', "a fine day is in no result"),
        ("The maximum temperature is 25 °C.", "25 where temperature_2m_max is 21.4; 25 is in no result"),
        ("It will be -4 °C.", "-4 is in no result"),
        ("Warm in Köln on Monday.", "Monday is in no result"),
    ],
)
def test_claims(judged, said, why):
    rows, finding = judged(said)
    assert rows["answers"].why == why
    assert rows["answers"].value == float(not why)
    assert finding.detail["grounded"]["contradicting"] == why.count(" where ")


def test_shares_and_coverage(judged):
    rows, _ = judged("It will be 25 °C in Köln.")
    assert rows["claims"].value == pytest.approx(2 / 3)
    assert rows["claims"].why == "1 of 3 claims are in no result"
    assert (rows["coverage"].value, rows["coverage"].why) == (0.5, "does not say 21.4")
    rows, _ = judged("")
    assert (rows["answers"].value, rows["claims"].value, rows["coverage"].value) == (1, 1, 0)


def test_rounding_can_be_refused(judged):
    rows, _ = judged("About 21 °C.", Grounded(rounded=False))
    assert rows["answers"].value == 1  # the 21st is in the result, and a rule cannot tell the two apart
    rows, _ = judged("About 3 mm.", Grounded(rounded=False))
    assert rows["answers"].why == "3 is in no result"


def test_a_result_in_words_counts_too(judged):
    rows, _ = judged("It rains in Bonn, 12 mm.", result="Bonn: 12 mm of rain")
    assert rows["answers"].value == 1


def test_contradictions_are_listed(judged):
    _, finding = judged("The temperature is 25 °C.")
    assert finding.detail["grounded"]["contradictions"] == [
        {"id": "w:0#4", "model": "tuned", "contradiction": "25 where temperature_2m_max is 21.4"}
    ]


def test_without_results_or_claims_nothing_is_measured(judged, plain, evidence):
    _, finding = judged("No.", content="Yes.")
    assert finding.missing == {"grounded.coverage": "no reference claims anything"}
    finding = Grounded().score(evidence(plain, {"tuned": {}}))
    assert set(finding.missing.values()) == {"no held-out turn is an answer after a tool's result"}
