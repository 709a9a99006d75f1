"""A gate passes, fails or says that it cannot tell."""

import random

import pytest
from pydantic import ValidationError

from src.eval.gates import Gate
from src.eval.measure import Finding, Measure, Row
from src.eval.results import results


def finding(name="tool_calls.accuracy", *, lower=False, **shares):
    """A hundred rows a model, that share of them right."""
    rows = {model: [Row(str(n), str(n), ("t",), float(n < share * 100)) for n in range(100)] for model, share in shares.items()}
    return Finding([Measure(name, rows, lower_is_better=lower)])


def verdict(gate, *found):
    judged = results(found, [gate], seed=3)
    assert judged["verdict"] == judged["gates"][0]["verdict"]
    return judged["verdict"]


@pytest.mark.parametrize(("share", "expected"), [(0.95, "pass"), (0.8, "undecided"), (0.5, "fail")])
def test_least_value(share, expected):
    assert verdict(Gate(metric="tool_calls.accuracy", min=0.8), finding(base=0.1, tuned=share)) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.1, "pass"), (0.3, "undecided"), (0.6, "fail")])
def test_greatest_value(share, expected):
    assert verdict(Gate(metric="tool_calls.accuracy", max=0.3), finding(tuned=share)) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.9, "pass"), (0.55, "undecided"), (0.4, "fail")])
def test_improvement_over_the_base(share, expected):
    gate = Gate(metric="tool_calls.accuracy", against="base", min_delta=0.1)
    assert verdict(gate, finding(base=0.45, tuned=share)) == expected


def test_improvement_of_a_perplexity_is_downward():
    chance = random.Random(0)
    rows = {
        model: [Row(str(n), str(n), (), chance.gauss(mean, 1) * 10, 10.0) for n in range(60)] for model, mean in (("base", 5), ("tuned", 3))
    }
    found = Finding([Measure("perplexity", rows, lower_is_better=True, exponential=True)])
    judged = results([found], [Gate(metric="perplexity", against="base", min_delta=50)], seed=1)
    assert judged["verdict"] == "pass"
    assert judged["metrics"][0]["verdict"] == "better"
    assert judged["metrics"][0]["difference"]["value"] < 0
    assert "asked for at least 50 lower" in judged["gates"][0]["why"]


def test_a_figure_that_is_missing_leaves_it_undecided():
    missing = Finding(missing={"style.persona": "the dataset was built without a persona"})
    judged = results([missing], [Gate(metric="style.persona", min=0.5)], seed=1)
    assert judged["gates"][0]["verdict"] == "undecided"
    assert judged["gates"][0]["why"] == "not measured: the dataset was built without a persona"
    no_base = Gate(metric="tool_calls.accuracy", against="base", min_delta=0.0)
    assert verdict(no_base, finding(tuned=0.5)) == "undecided"


def test_the_worst_gate_decides_and_none_is_none():
    sure, failed = Gate(metric="tool_calls.accuracy", min=0.1), Gate(metric="tool_calls.accuracy", min=0.9, max=0.99)
    assert results([finding(tuned=0.5)], [sure, failed], seed=1)["verdict"] == "fail"
    assert results([finding(tuned=0.5)], [sure], seed=1)["verdict"] == "pass"
    assert results([finding(tuned=0.5)], [], seed=1)["verdict"] == "none"


def test_more_confidence_decides_less():
    cautious = Gate(metric="tool_calls.accuracy", min=0.8, confidence=0.999)
    bold = Gate(metric="tool_calls.accuracy", min=0.8, confidence=0.5)
    assert verdict(cautious, finding(tuned=0.88)) == "undecided"
    assert verdict(bold, finding(tuned=0.88)) == "pass"


def test_tags_break_a_figure_down():
    rows = [Row(str(n), str(n), ("unseen:tool",) if n % 2 else ("unseen:values",), float(n % 2)) for n in range(40)]
    found = results([Finding([Measure("tool_calls.accuracy", {"base": rows, "tuned": rows})])], [], seed=1)["metrics"][0]
    assert found["tags"]["unseen:tool"]["models"] == {"base": 1.0, "tuned": 1.0}
    assert found["tags"]["unseen:values"]["rows"] == 20
    assert found["verdict"] == "no clear difference"


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({}, "set min, max"),
        ({"against": "base"}, "set min, max"),
        ({"min_delta": 0.1}, "go together"),
        ({"against": "base", "min": 0.1}, "go together"),
        ({"min": 0.5, "max": 0.1}, "is above max"),
        ({"min": 0.5, "confidence": 1.0}, "less than 1"),
    ],
)
def test_gates_that_ask_for_nothing_are_refused(keys, wrong):
    with pytest.raises(ValidationError, match=wrong):
        Gate(metric="tool_calls.accuracy", **keys)
