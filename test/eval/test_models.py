"""Any number of models on the same rows; an API that fails costs rows in the ledger, never a zero."""

import json
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.eval import eval as evaluate

OUT = Path("data/lamp/eval")


def _loaded(name, path):
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_llm = _loaded("llm_conftest_for_eval", Path(__file__).parents[1] / "llm/conftest.py")
server = _llm.server


def said(content="Ahoy.", calls=None):
    message = {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
    return 200, {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, "message": message}]}


def right(body, number):
    """Call the light that the last message asks for, as an API spells calls."""
    words = body["messages"][-1]["content"].rstrip(".").split()
    if not body.get("tools") or words[0] != "Light" or "at" not in words:
        return said()
    arguments = json.dumps({"room": words[2], "level": int(words[-1]) % 11})
    return said(None, [{"id": "1", "type": "function", "function": {"name": "set_light", "arguments": arguments}}])


def section(url, more="", timeout=30):
    backend = f"{{type: openai, model: m, base_url: '{url}', timeout: {timeout}}}"
    models = f"[{{type: tuned}}, {{type: api, name: big, backend: {backend}{more}}}]"
    return f"{{models: {models}, metrics: [{{type: tool_calls}}], max_new_tokens: 8}}"


@pytest.fixture
def quick(monkeypatch):
    """Pauses between tries that take no time."""
    monkeypatch.setattr("src.llm.patience.backoff", lambda attempt, chance: 0.0)


def figures():
    return {figure["name"]: figure for figure in json.loads((OUT / "metrics.json").read_text())["metrics"]}


def test_a_model_behind_an_api_is_measured_beside_the_tuned_one_and_asked_once(project, server):
    server.answers = right
    manifest = evaluate(evaluate.load(project(section(server.url))))
    assert manifest.counts["kept"] == 19
    found = figures()["tool_calls.accuracy"]["models"]
    assert set(found) == {"tuned", "big"}
    assert found["big"]["value"] == pytest.approx(12 / 13, abs=1e-6)  # "Light the den." names no level
    assert any("tools" in body for body in server.asked)
    sent = [message for body in server.asked for message in body["messages"] if message.get("tool_calls")]
    assert all(isinstance(call["function"]["arguments"], str) for message in sent for call in message["tool_calls"])
    asked = len(server.asked)
    evaluate(evaluate.load(project(section(server.url))), force=False)
    (OUT / "manifest.json").unlink()
    evaluate(evaluate.load(project(section(server.url))))
    assert len(server.asked) == asked


def test_faults_that_pass_are_retried_until_there_is_an_answer(project, server, quick):
    seen = {}

    def stumbles(body, number):
        tries = seen[key] = seen.get(key := json.dumps(body["messages"]), 0) + 1
        faults = [(429, {"error": {"message": "slow down"}}), (500, "broken"), (200, '{"choices": [{"mess'), (200, {"choices": []})]
        return faults[tries - 1] if tries <= 4 else right(body, number)

    server.answers = stumbles
    manifest = evaluate(evaluate.load(project(section(server.url, ", concurrency: 4"))))
    assert manifest.counts["kept"] == 19
    assert set(seen.values()) == {5}
    assert figures()["tool_calls.accuracy"]["models"]["big"]["value"] > 0.9


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"error": {"message": "slow down"}}),
        (500, "broken"),
        (200, "garbage"),
        (200, {"choices": []}),
        said(""),
        (400, {"error": {"message": "no"}}),
    ],
)
def test_a_row_without_an_answer_is_in_the_ledger_and_counts_for_no_model(project, server, quick, fault):
    server.answers = lambda body, number: fault if "hall" in body["messages"][-1]["content"] else right(body, number)
    manifest = evaluate(evaluate.load(project(section(server.url, ", max_retries: 2"))))
    assert manifest.counts["reasons"] == {"unanswered": 1}
    (dropped,) = read_jsonl(OUT / "dropped.jsonl")
    assert dropped["id"] == "call:0"
    assert dropped["detail"].startswith("big: ")
    assert figures()["tool_calls.accuracy"]["rows"] == 12
    assert "call:0#1" not in {row["id"] for row in read_jsonl(OUT / "predictions/tuned.jsonl")}


def test_a_server_that_hangs_costs_its_timeout_and_no_more(project, server, quick):
    def hangs(body, number):
        if "hall" in body["messages"][-1]["content"]:
            time.sleep(4)
        return right(body, number)

    server.answers = hangs
    manifest = evaluate(evaluate.load(project(section(server.url, ", max_retries: 1", timeout=3))))
    assert manifest.counts["reasons"] == {"unanswered": 1}


def test_where_no_answer_is_to_be_had_it_stops_and_says_so(project, server, quick):
    server.answers = lambda body, number: (500, "broken")
    with pytest.raises(MlxError, match="500"):
        evaluate(evaluate.load(project(section(server.url, ", max_retries: 0"))))
    server.answers = lambda body, number: (401, {"error": {"message": "who are you"}})
    asked = len(server.asked)
    with pytest.raises(MlxError, match="the key is refused"):
        evaluate(evaluate.load(project(section(server.url, ", concurrency: 1"))))
    assert len(server.asked) - asked <= 2


def test_an_earlier_release_stands_beside_the_new_one(project):
    models = "[{type: base}, {type: tuned}, {type: folder, name: v1, path: checkpoint/lamp/train}]"
    evaluate(evaluate.load(project(f"{{models: {models}, max_new_tokens: 8, metrics: [{{type: perplexity}}, {{type: tool_calls}}]}}")))
    found = figures()
    assert found["perplexity"]["models"]["v1"] == found["perplexity"]["models"]["tuned"]
    assert found["perplexity"]["models"]["v1"] != found["perplexity"]["models"]["base"]
    assert list(read_jsonl(OUT / "predictions/v1.jsonl")) == list(read_jsonl(OUT / "predictions/tuned.jsonl"))


def test_a_model_may_have_an_engine_of_its_own(project):
    models = "[{type: tuned}, {type: tuned, name: again, engine: {type: transformers}}]"
    evaluate(evaluate.load(project(f"{{models: {models}, max_new_tokens: 8, metrics: [{{type: tool_calls}}]}}")))
    assert list(read_jsonl(OUT / "predictions/again.jsonl")) == list(read_jsonl(OUT / "predictions/tuned.jsonl"))
    settings = json.loads((OUT / "metrics.json").read_text())["settings"]
    assert (settings["engine"], settings["engines"]) == ("transformers", {"again": "transformers"})
