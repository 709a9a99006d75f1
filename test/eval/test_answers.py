"""Figures over answers in words: each judges what it should, and says why."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from src.eval.cases import Case
from src.eval.exact import Exact, token_f1
from src.eval.json_schema import JsonSchema
from src.eval.length import Length
from src.eval.overlap import rouge_l, rouge_n
from src.eval.results import results
from src.eval.rouge import Rouge

FORM = {"type": "object", "properties": {"label": {"enum": ["good", "bad"]}}, "required": ["label"]}


@pytest.fixture
def asked():
    """Cases that expect these words."""

    def make(*expected, tags=()):
        return [
            Case(f"a:{n}#1", f"a:{n}", f"a:{n}", tags, [{"role": "user", "content": "Well?"}], [], {"content": each})
            for n, each in enumerate(expected)
        ]

    return make


@pytest.fixture
def scored(asked, evidence):
    """Values and whys of each figure, for answers to these references."""

    def score(metric, expected, said, **more):
        cases = asked(*expected, **more)
        finding = metric.score(evidence(cases, {"tuned": {case.id: text for case, text in zip(cases, said, strict=True)}}))
        return {m.name: [(row.value, row.why) for row in m.rows["tuned"]] for m in finding.measures} or finding.missing

    return score


def test_exact_passes_over_case_articles_and_punctuation(scored):
    found = scored(Exact(), ["The Mississippi.", "two boats", "two boats"], ["the mississippi!", "two big boats", ""])
    assert [value for value, _ in found["exact.match"]] == [1, 0, 0]
    assert found["exact.f1"] == [(1, ""), (pytest.approx(0.8), "F1 0.80"), (0, "F1 0.00")]
    assert token_f1("", "the") == 1  # nothing is left of either


def test_rouge_is_what_the_package_gives():
    """Figures of rouge-score 0.1.2, RougeScorer without stemmer."""
    for right, said, *figures in json.loads((Path(__file__).parent / "rouge_score.json").read_text()):
        ours = [rouge_n(right, said, 1), rouge_n(right, said, 2), rouge_l(right, said)]
        assert ours == pytest.approx(figures, abs=1e-9), (right, said)


def test_rouge_means(scored):
    found = scored(Rouge(), ["a b c", "x y"], ["a b c", "y x"])
    assert [[value for value, _ in found[f"rouge.{n}"]] for n in ("1", "2", "l")] == [[1, 1], [1, 0], [1, 0.5]]
    assert found["rouge.l"][1][1] == "0.50"


def test_length_has_bounds_and_a_distance_from_the_reference(scored, asked, evidence):
    found = scored(Length(min_words=2, max_words=3), ["one two"] * 3, ["one", "one two", "1 2 3 4"])
    assert found["length.within"] == [(0, "1 words"), (1, ""), (0, "4 words")]
    assert found["length.gap"] == [(0.5, "1 words where the reference has 2"), (0, ""), (1, "4 words where the reference has 2")]
    cases = asked("one two")
    assert Length().score(evidence(cases, {"tuned": {cases[0].id: "a b c"}})).detail == {
        "length": {"mean_words": {"tuned": 3, "reference": 2}}
    }
    with pytest.raises(ValidationError, match="above max_words"):
        Length(min_words=3, max_words=2)


def test_json_has_to_be_all_there_is_and_fit(scored):
    said = ['{"label": "good"}', '```json\n{"label": "bad"}\n```', '{"label": "worse"}', 'Sure: {"label": "good"}', '{"label": NaN}']
    found = scored(JsonSchema(form=FORM), ["{}"] * 5, said)
    assert [value for value, _ in found["json_schema.valid"]] == [1, 1, 1, 0, 0]
    assert [value for value, _ in found["json_schema.fits"]] == [1, 1, 0, 0, 0]
    assert found["json_schema.fits"][2][1] == "label: 'worse' is not one of ['good', 'bad']"
    assert "NaN is no JSON" in found["json_schema.valid"][4][1]
    with pytest.raises(ValidationError, match="is no JSON Schema"):
        JsonSchema(form={"type": "dict"})


@pytest.mark.parametrize("metric", [Exact(tags=("x",)), Rouge(tags=("x",)), Length(tags=("x",)), JsonSchema(form={}, tags=("x",))])
def test_tags_choose_rows(scored, metric):
    assert scored(metric, ["a b"], ["a b"]) == dict.fromkeys(metric.names, "no held-out turn is an answer in words")
    assert len(scored(metric, ["a b"], ["a b"], tags=("x", "y"))) == len(metric.names)


def test_figures_become_results(asked, evidence):
    cases = asked(*["a b c"] * 12)
    both = {"base": {case.id: "c" for case in cases}, "tuned": {case.id: "a b c" for case in cases}}
    found = results([metric.score(evidence(cases, both)) for metric in (Exact(), Rouge(), Length())], [], 1)
    gap = next(figure for figure in found["metrics"] if figure["name"] == "length.gap")
    assert (gap["models"]["tuned"]["value"], gap["better"]) == (0, "lower")
