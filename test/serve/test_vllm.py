"""A real vLLM behind the server: the same answers as from transformers, in the same form."""

import os
from pathlib import Path

import pytest

from src.models.trained import Trained
from src.serve.engines.vllm import VllmEngine

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]


@pytest.fixture(scope="module")
def beside(web, trained_folder, tmp_path_factory):
    """Address of a server with vLLM beside it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, os.environ.get(name, value))
        part = VllmEngine(type="vllm", executable=Path(os.environ["VLLM_EXECUTABLE"]), max_model_len=256)
        log = tmp_path_factory.mktemp("log") / "vllm.log"
        failures = []
        engine = part.open(Trained.of(trained_folder), name="keeper", max_new_tokens=100, log=log)
        with web.running(engine, failed=failures.append) as address:
            web.until(lambda: failures or web.ask(address, path="/health", method="GET")[0] == 200, 400)
            assert not failures, failures
            yield address


def message(answer):
    return answer["choices"][0]["message"]


def test_it_answers_as_transformers_does_with_the_same_counts(web, beside, keeper):
    for body in (web.chat(), web.chat() | {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]}):
        ours, theirs = web.ask(keeper, body)[2], web.ask(beside, body)[2]
        assert message(ours)["content"] == message(theirs)["content"]
        assert ours["choices"][0]["finish_reason"] == theirs["choices"][0]["finish_reason"] == "stop"
        assert {key: theirs["usage"][key] for key in ours["usage"]} == ours["usage"]


def test_its_stream_passes_through(web, beside):
    status, headers, text = web.ask(beside, web.chat(stream=True, stream_options={"include_usage": True}))
    events = web.events(text)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"]) == web.greeted
    assert events[-1]["usage"]["completion_tokens"] > 5


def test_its_tool_calls_are_those_of_transformers(web, beside, keeper):
    body = web.chat("Lamp on", tools=[web.tool])
    (ours,), (theirs,) = (message(web.ask(address, body)[2])["tool_calls"] for address in (keeper, beside))
    assert ours["function"] == theirs["function"]


def test_answers_are_capped_whether_or_not_the_client_sets_a_limit(web, beside):
    for more in ({}, {"max_tokens": 120}):
        answer = web.ask(beside, web.chat("Count", **more))[2]
        assert answer["usage"]["completion_tokens"] == 100 and answer["choices"][0]["finish_reason"] == "length"


def test_the_base_model_and_a_prompt_too_long_are_refused(web, beside, base):
    assert web.ask(beside, web.chat() | {"model": base.as_posix()})[0] == 404
    status, _, body = web.ask(beside, web.chat("lamp " * 500))
    assert status == 400 and "256" in body["error"]["message"]
