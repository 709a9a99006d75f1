from pathlib import Path

import pytest
from pydantic import Field

from src.core.config import essence
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.llm.backend import Backend
from src.llm.client import BackendError
from src.llm.ollama import OllamaBackend

ASK = [{"role": "user", "content": "how is it?"}]


class AskConfig(StageConfig):
    backend: Backend
    """Who is asked."""
    others: tuple[Backend, ...] = ()
    """More."""
    named: dict[str, Backend] = Field(default_factory=dict)
    """Yet more."""


@stage()
def ask(config: AskConfig, run: Run) -> None:
    """Ask."""


def load(text, *overrides):
    Path("p.yaml").write_text(f"name: p\n{text}\n")
    return ask.load("p.yaml", *overrides).section("ask")


def test_it_is_spoken_to_through_its_openai_api(server, answer):
    server.answers = lambda body, number: (200, answer.completion("well"))
    for url in (server.url.removesuffix("/v1"), server.url, server.url + "/"):
        with OllamaBackend(model="m", base_url=url).open() as client:
            assert client.chat(ASK, max_tokens=3).text == "well"
    assert server.paths == ["/v1/chat/completions"] * 3


def test_an_unknown_model_is_to_be_pulled(server, answer):
    server.answers = lambda body, number: (404, answer.refusal("model 'm' not found"))
    with OllamaBackend(model="m", base_url=server.url).open() as client, pytest.raises(BackendError) as found:
        client.chat(ASK, max_tokens=3)
    assert found.value.hint == "fetch it with `ollama pull m`"


def test_nobody_listens():
    with OllamaBackend(model="m", base_url="http://127.0.0.1:9", max_retries=0).open() as client, pytest.raises(BackendError) as found:
        client.chat(ASK, max_tokens=3)
    assert "ollama serve" in found.value.hint


def test_the_environment_says_where_it_is(monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://elsewhere:1")
    assert load("ask: {backend: {type: ollama, model: m}}").backend.base_url == "http://elsewhere:1"
    assert load("ask: {backend: {type: ollama, model: m, base_url: http://file}}").backend.base_url == "http://elsewhere:1"
    typed = load("ask: {backend: {type: ollama, model: m}}", "ask.backend.base_url=http://typed")
    assert typed.backend.base_url == "http://typed"
    chosen = load("ask: {backend: {type: scripted}}", "ask.backend={type: ollama, model: m}")
    assert chosen.backend.base_url == "http://elsewhere:1"
    many = load(
        "ask: {backend: {type: scripted}, others: [{type: scripted}, {type: ollama, model: m}], named: {a: {type: ollama, model: m}}}"
    )
    assert many.others[1].base_url == many.named["a"].base_url == "http://elsewhere:1"


def test_the_environment_touches_no_other_backend(monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://elsewhere:1")
    assert load("ask: {backend: {type: openai, model: m}}").backend.base_url == "https://api.openai.com/v1"
    assert load("ask: {backend: {type: scripted}}").backend.type == "scripted"


def test_where_it_runs_makes_no_other_answer():
    assert (
        essence(OllamaBackend(model="m")) == essence(OllamaBackend(model="m", base_url="http://box:1")) == {"type": "ollama", "model": "m"}
    )
