"""A real vLLM, started for the answers: the very text that the model in this process gives, and gone afterwards."""

import json
import os
from pathlib import Path

import pytest

from src.core.files import read_jsonl
from src.eval import eval as evaluate

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]
OUT = Path("data/lamp/eval")


def said(model):
    return list(read_jsonl(OUT / f"predictions/{model}.jsonl"))


def test_answers_are_those_of_the_model_in_this_process(project):
    evaluate(evaluate.load(project("{metrics: [{type: tool_calls}], max_new_tokens: 24}")))
    here = {model: said(model) for model in ("base", "tuned")}
    engine = f"{{type: vllm, executable: {os.environ['VLLM_EXECUTABLE']}, extra_args: [--enforce-eager]}}"
    evaluate(evaluate.load(project(f"{{metrics: [{{type: tool_calls}}], max_new_tokens: 24, engine: {engine}}}")))
    assert {model: said(model) for model in ("base", "tuned")} == here
    assert here["base"] != here["tuned"]
    assert json.loads((OUT / "metrics.json").read_text())["settings"]["engine"] == "vllm"


def test_one_report_has_the_same_models_through_both_engines(project):
    engine = f"{{type: vllm, executable: {os.environ['VLLM_EXECUTABLE']}, extra_args: [--enforce-eager]}}"
    twice = f"{{type: base, name: base_vllm, engine: {engine}}}, {{type: tuned, name: tuned_vllm, engine: {engine}}}"
    models = f"[{{type: base}}, {{type: tuned}}, {twice}]"
    evaluate(evaluate.load(project(f"{{metrics: [{{type: tool_calls}}], max_new_tokens: 24, models: {models}}}")))
    found = json.loads((OUT / "metrics.json").read_text())
    for figure in found["metrics"]:
        pairs = {(each["against"], each["model"]): each for each in figure["comparisons"]}
        for name in ("base", "tuned"):
            assert pairs[name, f"{name}_vllm"]["flipped"] in ([0, 0], None)
            assert pairs[name, f"{name}_vllm"]["value"] == 0
    assert said("tuned_vllm") == said("tuned") != said("base") == said("base_vllm")
    assert found["settings"]["engines"] == {"base_vllm": "vllm", "tuned_vllm": "vllm"}
