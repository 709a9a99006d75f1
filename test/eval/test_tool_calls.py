"""Scripted answers get the shares they deserve, each for its reason."""

import pytest

from src.core.errors import MlxError
from src.core.files import write_jsonl
from src.eval.gates import Gate
from src.eval.results import results
from src.eval.tool_calls import ToolCalls


def shares(finding, model="tuned"):
    def share(rows):
        return sum(row.value for row in rows) / sum(row.weight for row in rows)

    return {m.name.removeprefix("tool_calls."): share(m.rows[model]) for m in finding.measures}


def test_right_answers_get_all(calling, plain, right, evidence):
    answers = right | {case.id: "Well enough." for case in plain}
    finding = ToolCalls().score(evidence(calling + plain, {"tuned": answers}))
    assert shares(finding) == {"valid": 1, "schema": 1, "name": 1, "accuracy": 1, "ast": 1, "arguments": 1, "invented": 0, "relevance": 1}
    assert finding.missing == {}


def test_each_check_fails_for_its_own_reason(calling, plain, evidence):
    faults = [
        ("I cannot.", "no call"),
        ("<tool_call>{oops}</tool_call>", "not valid JSON"),
        ('<tool_call>{"name": "set_light", "arguments": {"room": "cellar", "level": "2"}}</tool_call>', "level: '2' is not of type"),
        ('<tool_call>{"name": "fly", "arguments": {"room": "attic", "level": 3}}</tool_call>', "fly is not among"),
        ('<tool_call>{"name": "set_light", "arguments": {"room": "attic", "level": 4}}</tool_call>', "room: 'attic' instead of 'porch'"),
    ]
    cases = calling[:5]
    texts = {case.id: text for case, (text, _) in zip(cases, faults, strict=True)}
    finding = ToolCalls().score(evidence(cases, {"tuned": texts}))
    assert shares(finding) == {
        "valid": 0.6,
        "schema": 0.2,
        "name": 0.4,
        "accuracy": 0.0,
        "ast": 0.0,
        "arguments": pytest.approx(2 / 12),
        "invented": 0.2,
    }
    by_name = {measure.name: measure.rows["tuned"] for measure in finding.measures}
    for place, name in enumerate(("valid", "valid", "schema", "schema", "accuracy")):
        assert faults[place][1] in by_name[f"tool_calls.{name}"][place].why
    assert finding.missing == {"tool_calls.relevance": "no held-out turn offers tools and expects none to be called"}


def test_a_call_out_of_place_counts_against_relevance_only(plain, evidence):
    texts = {case.id: "Well enough." for case in plain}
    texts[plain[0].id] = '<tool_call>{"name": "set_light", "arguments": {"room": "hall", "level": 1}}</tool_call>'
    texts[plain[1].id] = "<tool_call>{"
    finding = ToolCalls().score(evidence(plain, {"tuned": texts}))
    assert shares(finding) == {"invented": 0.0, "relevance": 0.75}
    whys = [row.why for row in finding.measures[1].rows["tuned"]]
    assert whys[0] == "calls set_light where no tool applies"
    assert whys[1].startswith("begins a call where no tool applies")
    assert len(finding.missing) == 6


def test_shuffled_answers_do_not_pass(calling, right, evidence):
    """Well-formed calls of the right tool that answer another request: form alone must not clear the bar."""
    texts = list(right.values())
    shuffled = dict(zip(right, texts[5:] + texts[:5], strict=True))
    assert all(shuffled[name] != text for name, text in right.items())
    gates = [Gate(metric="tool_calls.accuracy", against="base", min_delta=0.1), Gate(metric="tool_calls.name", min=0.5)]
    silent = dict.fromkeys(right, "I cannot.")
    good = results([ToolCalls().score(evidence(calling, {"base": silent, "tuned": right}))], gates, 1)
    bad = results([ToolCalls().score(evidence(calling, {"base": silent, "tuned": shuffled}))], gates, 1)
    assert [gate["verdict"] for gate in good["gates"]] == ["pass", "pass"]
    assert [gate["verdict"] for gate in bad["gates"]] == ["fail", "pass"]
    assert bad["verdict"] == "fail"
    accuracy = next(figure for figure in bad["metrics"] if figure["name"] == "tool_calls.accuracy")
    assert accuracy["models"]["tuned"]["value"] == 0


def test_published_alternatives_count_for_ast_alone(calling, evidence, tmp_path):
    file = tmp_path / "accepted.jsonl"
    row = {"id": "call:0", "ground_truth": [{"set_light": {"room": ["hall", "corridor"], "level": [0, 1], "colour": ["", "red"]}}]}
    write_jsonl(file, [row])
    texts = {calling[0].id: '<tool_call>{"name": "set_light", "arguments": {"room": "Corridor", "level": 1}}</tool_call>'}
    metric = ToolCalls(accepted=file)
    assert list(metric.files()) == [file]
    found = shares(metric.score(evidence(calling[:1], {"tuned": texts})))
    assert (found["ast"], found["accuracy"], found["arguments"]) == (1, 0, 0)
    assert shares(ToolCalls().score(evidence(calling[:1], {"tuned": texts})))["ast"] == 0


@pytest.mark.parametrize("line", ['{"id": "call:0"}', '{"id": "call:0", "ground_truth": [{}]}', "oops"])
def test_a_line_without_accepted_calls_is_named(calling, right, evidence, tmp_path, line):
    file = tmp_path / "accepted.jsonl"
    file.write_text(f'{{"id": "x", "ground_truth": []}}\n{line}\n')
    with pytest.raises(MlxError, match=r"accepted.jsonl:2: holds no accepted calls"):
        ToolCalls(accepted=file).score(evidence(calling, {"tuned": right}))


def test_arguments_are_counted_each_and_against_what_is_too_much(calling, evidence):
    case = calling[3]  # attic at 3
    said = {
        '{"room": "attic", "level": 3}': 1,
        '{"room": "attic", "level": 4}': 1 / 2,
        '{"room": "attic", "level": 3, "colour": "white"}': 1,  # given as the default has it
        '{"room": "attic", "level": 3, "speed": 1}': 2 / 3,
    }
    for arguments, share in said.items():
        text = f'<tool_call>{{"name": "set_light", "arguments": {arguments}}}</tool_call>'
        assert shares(ToolCalls().score(evidence([case], {"tuned": {case.id: text}})))["arguments"] == pytest.approx(share)
    twice = "<tool_call>" + '{"name": "set_light", "arguments": {"room": "attic", "level": 3}}' * 2 + "</tool_call>"
    assert shares(ToolCalls().score(evidence([case], {"tuned": {case.id: twice}})))["arguments"] == pytest.approx(2 / 4)
