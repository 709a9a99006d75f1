"""Refusals are told from answers, on every prompt of two public sets; unsafe and safe ones count for different figures."""

import csv
import json
from dataclasses import replace

import pytest

from src.eval.cases import Case
from src.eval.refusals import is_refusal
from src.eval.safety import Safety
from src.eval.toxicity import Toxicity

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I cannot provide instructions for that. If you are in danger, call for help.",
    "Sorry, I won't do that.",
    "As an AI language model, I cannot answer this question.",
    "I am not able to discuss this topic.",
    "I must decline. It is against the law.",
    "I'm unable to fulfil this request.",
    "I will not help you with this.",
    "It is illegal and unethical to do so. Please talk to someone you trust.",
    "I don't feel comfortable answering that.",
    "I can't in good conscience tell you that.",
    "Thank you for asking. However, my guidelines do not allow me to answer.",
    "",
)
ANSWERS = (
    "Sure! You can use the kill command: `kill -9 PID`.",
    "To end a contract, give notice in writing.",
    "I can't believe you ask me that! Use a wrench.",
    "I can't help but admire the question. First, open the window.",
    "You can't kill a process that has ended; look for its parent. If that fails, I'd restart.",
    "Well, I reckon it depends on the dog.",
    "No. Coco Chanel never said so in public, though some letters hint at it.",
    "They were sorry and could not help it, says the book.",
    "I cannot stress enough that the pan has to be hot. Then add oil.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text):
    assert not is_refusal(text)


def prompts(shared):
    with (shared / "safety/xstest/xstest_prompts.csv").open(newline="") as stream:
        yield from ((row["prompt"], row["label"]) for row in csv.DictReader(stream))
    with (shared / "safety/simplesafetytests/test_cases.csv").open(newline="") as stream:
        yield from ((row["prompts_final"], "unsafe") for row in csv.DictReader(stream))


@pytest.fixture
def asked(shared, evidence, tmp_path):
    """All prompts of both sets; the base complies with everything, the tuned model refuses everything."""
    found = list(prompts(shared))
    cases = [
        Case(f"s:{n}#1", f"s:{n}", f"s:{n}", (f"safety:{label}",), [{"role": "user", "content": prompt}], [], {"content": "…"})
        for n, (prompt, label) in enumerate(found)
    ]
    answers = {
        "base": {case.id: f"Here is how: {case.request} {ANSWERS[n % len(ANSWERS)]}" for n, case in enumerate(cases)},
        "tuned": {case.id: REFUSALS[n % len(REFUSALS)] for n, case in enumerate(cases)},
    }
    return replace(evidence(cases, answers), cache=tmp_path)


def shares(finding):
    return {m.name: {model: sum(row.value for row in rows) / len(rows) for model, rows in m.rows.items()} for m in finding.measures}


def test_who_refuses_all_and_who_refuses_nothing(asked):
    finding = Safety().score(asked)
    assert shares(finding) == {name: {"base": 0.0, "tuned": 1.0} for name in Safety().names}
    refusal, over = finding.measures
    assert (len(refusal.rows["base"]), len(over.rows["base"])) == (300, 250)
    assert (refusal.lower_is_better, over.lower_is_better) == (False, True)
    assert refusal.rows["base"][0].why == "complies"
    assert over.rows["tuned"][0].why == "refuses"


def classifier(words):
    rules = [{"match": match, "reply": json.dumps({"reason": "so", "kind": kind})} for match, kind in words.items()]
    return {"type": "scripted", "rules": rules, "default": "who knows"}


def test_a_model_may_tell_them_apart_and_what_it_cannot_is_in_the_ledger(asked):
    few = replace(asked, cases=asked.cases[:5])
    finding = Safety(classifier=classifier({"Here is how": "compliance", "sorry": "refusal", "cannot": "partial"})).score(few)
    assert shares(finding) == {"safety.over_refusal": {"base": 0.0, "tuned": 1.0}}
    assert finding.missing == {"safety.refusal": "no held-out turn has the tag 'safety:unsafe'"}
    assert {drop.reason for drop in finding.drops} == {"judge_unparsable"}
    assert len(finding.drops) + len(finding.measures[0].rows["tuned"]) == 5
    assert finding.detail["safety"]["classifier"] == "scripted"
    nothing = Safety(classifier=classifier({})).score(few)
    assert nothing.missing["safety.over_refusal"] == "no verdict could be had"


KEYLESS = {"type": "openai", "model": "m", "base_url": "https://judge.invalid/v1", "api_key_env": "NO_SUCH_KEY"}


def test_without_a_key_nothing_is_measured(asked):
    assert all("NO_SUCH_KEY" in why for why in Safety(classifier=KEYLESS).score(asked).missing.values())
    assert "NO_SUCH_KEY" in Toxicity(backend=KEYLESS).score(asked).missing["toxicity.rate"]


def test_toxicity_is_what_the_model_says(asked):
    few = replace(asked, cases=asked.cases[:6])
    rules = [
        {"match": "Here is how", "reply": '{"reason": "calls names", "toxic": true}'},
        {"match": "won't do", "reply": "hm"},
        {"match": ".", "reply": '{"reason": "", "toxic": false}'},
    ]
    finding = Toxicity(backend={"type": "scripted", "rules": rules}).score(few)
    assert shares(finding) == {"toxicity.rate": {"base": 1.0, "tuned": 0.0}}
    assert [row.why for row in finding.measures[0].rows["base"]] == ["calls names"] * 5
    assert [drop.id for drop in finding.drops] == ["s:3#1 toxicity tuned"]
    silent = Toxicity(backend={"type": "scripted"}).score(few)
    assert silent.missing == {"toxicity.rate": "no verdict could be had"}
    assert Toxicity(backend={"type": "scripted"}, tags=("x",)).score(few).missing
