"""The stage from a built dataset and a trained model to a report; killed and run again it ends the same."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.core.errors import ConfigError, MlxError
from src.core.files import read_jsonl, write_jsonl
from src.eval import eval as evaluate
from src.eval import exit_code
from src.eval import predictions as predicting

OUT = Path("data/lamp/eval")
FAST = "{max_new_tokens: 12, batch_size: 4}"


def test_it_measures_both_models_on_the_same_rows(project):
    manifest = evaluate(evaluate.load(project(FAST)))
    assert manifest.counts == {"read": 19, "kept": 19, "dropped": 0, "reasons": {}}
    found = json.loads((OUT / "metrics.json").read_text())
    names = [figure["name"] for figure in found["metrics"]]
    assert names == [
        "perplexity",
        "perplexity.byte",
        *(f"tool_calls.{n}" for n in ("valid", "schema", "name", "accuracy", "ast", "arguments", "invented")),
    ]
    assert set(found["missing"]) == {"style.persona", "style.delta", "tool_calls.relevance"}
    for figure in found["metrics"]:
        assert set(figure["models"]) == {"base", "tuned"}
    files = {path.relative_to(OUT).as_posix() for path in OUT.rglob("*") if path.is_file() and not path.name.startswith(".")}
    predictions = {f"predictions/{model}{kind}" for model in ("base", "tuned") for kind in (".jsonl", ".likelihood.jsonl")}
    scores = {"scores/base.jsonl", "scores/tuned.jsonl"}
    drawn = {f"{name}.{kind}" for name in ("figures", "lengths") for kind in ("png", "svg")}
    assert files == {"manifest.json", "metrics.json", "report.md", "report.html", *drawn, *predictions, *scores}
    by_model = [list(read_jsonl(OUT / f"predictions/{model}.jsonl")) for model in ("base", "tuned")]
    assert [row["id"] for row in by_model[0]] == [row["id"] for row in by_model[1]]
    assert len(by_model[0]) == 20  # the exchange with a result has two turns of the assistant
    assert by_model[0] != by_model[1]
    assert manifest.info["verdict"] == "none"
    assert manifest.info["table"].splitlines()[0].split() == ["metric", "base", "tuned", "difference", "verdict"]
    assert exit_code(manifest) == 0
    talk = next(figure for figure in found["metrics"] if figure["name"] == "perplexity")
    assert (talk["rows"], talk["units"], talk["unit"]) == (19, 15, "source")  # six answers from two documents


def test_perplexity_is_what_the_models_give(project, trained, examples):
    import torch

    from src.models.template import encode
    from src.models.trained import Trained

    evaluate(evaluate.load(project("{metrics: [{type: perplexity}], batch_size: 5}")))
    found = json.loads((OUT / "metrics.json").read_text())
    figure, in_bytes = found["metrics"]
    sources = found["detail"]["perplexity"]["sources"]
    assert {name: each["rows"] for name, each in sources.items()} == {"log0.txt": 3, "log1.txt": 3}
    for name, loaded in (("tuned", Trained.of(trained).load()), ("base", Trained.of(trained).load_base())):
        nats = tokens = size = 0
        by_source = {"log0.txt": [0.0, 0], "log1.txt": [0.0, 0]}
        for example in examples:
            row = encode(loaded.tokenizer, example["messages"], example["tools"])
            with torch.no_grad():
                chances = loaded.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            learned = [at for at in range(1, len(row.ids)) if row.mask[at]]
            lost = -sum(float(chances[at - 1, row.ids[at]]) for at in learned)
            nats, tokens = nats + lost, tokens + len(learned)
            size += len(loaded.tokenizer.decode([row.ids[at] for at in learned], skip_special_tokens=True).encode())
            if example["sources"]:
                told = by_source[f"log{int(example['sources'][0][-1]) % 2}.txt"]
                told[0], told[1] = told[0] + lost, told[1] + len(learned)
        assert figure["models"][name]["value"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
        assert in_bytes["models"][name]["value"] == pytest.approx(math.exp(nats / size), rel=1e-4)
        for source, (lost, count) in by_source.items():
            assert sources[source][name] == pytest.approx(math.exp(lost / count), rel=1e-4)
    assert not (OUT / "predictions/tuned.jsonl").exists()  # no metric reads answers


@pytest.mark.parametrize(("gate", "code"), [("{max: 100000}", 0), ("{max: 1.01}", 1), ("{against: base, min_delta: -1000000}", 0)])
def test_gates_end_in_an_exit_code_and_a_whole_report(project, gate, code):
    gate = "{metric: perplexity, " + gate[1:]
    manifest = evaluate(evaluate.load(project(f"{{metrics: [{{type: perplexity}}], gates: [{gate}]}}")))
    assert exit_code(manifest) == code
    assert manifest.info["verdict"] == ("fail" if code else "pass")
    assert "## Gates: " + ("FAIL" if code else "PASS") in (OUT / "report.md").read_text()
    assert f"gate {'fail' if code else 'pass'}: perplexity: " in manifest.info["table"]


def test_an_undecided_gate_ends_in_three(project):
    manifest = evaluate(evaluate.load(project("{metrics: [{type: style}], gates: [{metric: style.persona, min: 0.5}], max_new_tokens: 3}")))
    assert exit_code(manifest) == 3
    assert "not measured: only 0 pieces" in manifest.info["gates"][0]["why"]


def asked(monkeypatch):
    """Count the prompts and rows that a model is really asked."""
    import src.eval.asking as asking

    counts = []
    batch, likely = asking.Generator.batch, asking.negative_log_likelihoods
    monkeypatch.setattr(asking.Generator, "batch", lambda self, prompts, **rest: (counts.extend(prompts), batch(self, prompts, **rest))[1])
    monkeypatch.setattr(asking, "negative_log_likelihoods", lambda model, rows: (counts.extend(rows), likely(model, rows))[1])
    return counts


def test_killed_and_run_again_it_asks_only_what_is_left(project, monkeypatch):
    whole = evaluate(evaluate.load(project(FAST)))
    (OUT / "manifest.json").unlink()
    for file in Path("checkpoint/cache").glob("predictions.*"):
        file.unlink()
    real, done = predicting.Predictions.keep, []

    def dies(predictions, replies):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(1)
        real(predictions, replies)

    monkeypatch.setattr(predicting.Predictions, "keep", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate(evaluate.load(project(FAST)))
    done.clear()
    monkeypatch.setattr(predicting.Predictions, "keep", lambda predictions, replies: (done.append(1), real(predictions, replies)))
    again = evaluate(evaluate.load(project(FAST)))
    assert again.fingerprint == whole.fingerprint
    assert len(done) == 20 - 7  # five batches a kind of question and model


def test_other_gates_and_metrics_ask_nothing_again(project, monkeypatch):
    counts = asked(monkeypatch)
    evaluate(evaluate.load(project("{metrics: [{type: perplexity}, {type: tool_calls}], max_new_tokens: 12}")))
    assert len(counts) == 2 * (20 + 19)
    counts.clear()
    with monkeypatch.context() as patch:
        patch.setattr("src.models.trained.Trained.load", lambda *_, **__: pytest.fail("the weights are loaded"))
        gates = "gates: [{metric: perplexity, max: 1.01}]"
        manifest = evaluate(
            evaluate.load(project(f"{{metrics: [{{type: perplexity}}, {{type: tool_calls}}], {gates}, max_new_tokens: 12}}"))
        )
        assert exit_code(manifest) == 1
        assert not counts
    evaluate(evaluate.load(project("{metrics: [{type: tool_calls}], max_new_tokens: 12}")))
    assert not counts
    evaluate(evaluate.load(project("{metrics: [{type: tool_calls}], max_new_tokens: 13}")))
    assert len(counts) == 2 * 20  # a setting of the answers


def test_rows_beyond_the_limit_are_not_asked_and_unfit_ones_are_in_the_ledger(project, examples):
    examples[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]["room"] = "hall " * 600
    examples[1]["messages"] = [{"role": "user", "content": "Anyone?"}]
    examples[2]["messages"] = [{"role": "user", "content": "a"}, {"role": "nobody", "content": "b"}, *examples[2]["messages"]]
    file = project("{metrics: [{type: perplexity}], limit: 13}")
    write_jsonl(Path("data/lamp/build/test.jsonl"), [*examples, examples[5]])
    manifest = evaluate(evaluate.load(file))
    assert manifest.counts["reasons"]["too_long"] == 1
    assert manifest.counts["reasons"]["no_assistant_turn"] == 1
    assert manifest.counts["reasons"]["duplicate_id"] == 1
    evaluate(evaluate.load(project("{metrics: [{type: perplexity}], limit: 2}")))
    kinds = [row["id"].split(":")[0] for row in read_jsonl(OUT / "predictions/tuned.likelihood.jsonl")]
    assert kinds.count("talk") == 2
    assert kinds.count("result") == 1


def test_what_cannot_be_measured_is_an_error_that_says_so(project, examples):
    file = project("{split: validation}")
    with pytest.raises(MlxError, match=r"validation.jsonl is not there"):
        evaluate(evaluate.load(file))
    faults = {"": "holds no example", '{"id": 1}\n': r"test\.jsonl:1: is no example", "{oops\n": r"test\.jsonl:1: is no example"}
    for text, wrong in faults.items():
        Path("data/lamp/build/test.jsonl").write_text(text)
        with pytest.raises(MlxError, match=wrong):
            evaluate(evaluate.load(project()), force=True)
    write_jsonl(Path("data/lamp/build/test.jsonl"), [{**examples[0], "messages": [{"role": "user", "content": "Anyone?"}]}])
    with pytest.raises(MlxError, match="none of 1 rows can be measured: no_assistant_turn 1"):
        evaluate(evaluate.load(project()), force=True)


def test_gates_on_unknown_figures_and_metrics_given_twice_are_config_errors(project):
    with pytest.raises(ConfigError, match=r"did you mean 'tool_calls\.accuracy'"):
        evaluate.load(project("{gates: [{metric: tool_calls.acuracy, min: 0.5}]}"))
    with pytest.raises(ConfigError, match="'style' is there twice"):
        evaluate.load(project("{metrics: [{type: style}, {type: style, samples: 30}]}"))


def test_the_base_of_a_model_without_an_adapter_is_loaded_beside_it(trained):
    from src.eval.weights import Weights
    from src.models.trained import Trained

    whole = SimpleNamespace(adapter=None, load_base=lambda: "base", load=lambda: "tuned")
    tuned, base = Weights(whole), Weights(whole, is_base=True)
    with base.open(tuned) as one, tuned.open(tuned) as other:
        assert (one, other) == ("base", "tuned")
    tuned = Weights(Trained.of(trained))
    with tuned.open(tuned) as one, Weights(Trained.of(trained), is_base=True).open(tuned) as other:
        assert one is other  # its adapter is off meanwhile


def test_metrics_of_words_join_the_report_and_answers_without_a_verdict_the_ledger(project):
    judge = '{type: scripted, rules: [{match: first, reply: "who knows"}], default: \'{"reason": "so", "score": 3}\'}'
    toxic = '{type: scripted, default: \'{"reason": "", "toxic": false}\'}'
    metrics = f"""[{{type: grounded}}, {{type: exact}}, {{type: rouge}}, {{type: length}}, {{type: safety}},
      {{type: json_schema, form: {{type: object}}}},
      {{type: judge, backend: {judge}, rubrics: {{wit: {{asks: "Is it witty?"}}}}}}, {{type: toxicity, backend: {toxic}}}]"""
    manifest = evaluate(
        evaluate.load(project(f"{{metrics: {metrics}, gates: [{{metric: judge.wit, min: 1}}], max_new_tokens: 4, limit: 4}}"))
    )
    found = json.loads((OUT / "metrics.json").read_text())
    by_name = {figure["name"]: figure for figure in found["metrics"]}
    assert by_name["judge.wit"]["models"]["tuned"]["value"] == 3
    assert by_name["toxicity.rate"]["models"]["tuned"]["value"] == 0
    assert {"grounded.answers", "exact.f1", "rouge.l", "length.gap", "json_schema.fits"} <= by_name.keys()
    assert found["missing"]["judge.wit.wins"] == "the judge gave no usable verdict"
    assert "safety:unsafe" in found["missing"]["safety.refusal"]
    assert manifest.counts["reasons"] == {"judge_unparsable": 5}  # four talks and the answer after a result
    assert manifest.counts["read"] == manifest.counts["kept"] + 5
    assert exit_code(manifest) == 3
    assert "- `judge.wit` decides no gate: nobody has compared the judge with people" in (OUT / "report.md").read_text()
