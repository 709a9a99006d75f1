"""A real vLLM behind the server: the same answers as from transformers, in the same form."""

import os
from pathlib import Path

import pytest

from src.models.trained import Trained
from src.serve import ServeConfig
from src.serve.engines.vllm import VllmEngine
from src.serve.open_gateway import open_gateway

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]


@pytest.fixture(scope="module")
def engine(web, trained_folder, tmp_path_factory):
    """vLLM, and the address of a server beside it."""
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
            yield engine, address


@pytest.fixture
def beside(engine):
    """Address of the server."""
    return engine[1]


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


def test_prompts_near_the_limit_are_counted_by_vllm_itself_and_exactly(web, engine):
    part = {"type": "openai", "url": f"{engine[0].upstream.url}", "model": "keeper", "context": 256}
    config = ServeConfig.model_validate({"engine": None, "models": {"keeper": part}})
    known = "<tool_call> lamp " * 27  # the tokens of so small a vocabulary are short, but for these
    with web.running(open_gateway(config, None, project="far", output=Path("serve"), beside={})) as address:
        for more in ({}, {"tools": [web.tool]}):
            status, headers, told = web.ask(address, web.chat(known, max_tokens=4, **more))
            assert status == 200, told
            assert headers["x-mlx-tokens"] == str(told["usage"]["prompt_tokens"])
        status, _, told = web.ask(address, web.chat(known * 2, max_tokens=4))
        assert status == 400 and told["error"]["code"] == "context_length_exceeded" and "about" not in told["error"]["message"]
