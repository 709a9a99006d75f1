"""A real server that speaks Ollama's dialect behind the gateway: Lemonade, which runs llama.cpp (LEMONADE_URL, LEMONADE_MODEL)."""

import http.client
import json
import os
from pathlib import Path

import pytest

from src.serve import ServeConfig
from src.serve.open_gateway import open_gateway

URL, MODEL = os.environ.get("LEMONADE_URL", ""), os.environ.get("LEMONADE_MODEL", "")
pytestmark = [
    pytest.mark.llamacpp,
    pytest.mark.slow,
    pytest.mark.skipif(not (URL and MODEL), reason="needs LEMONADE_URL and LEMONADE_MODEL, of a Lemonade that runs"),
]


def loaded():
    """What it has loaded, as it tells itself."""
    connection = http.client.HTTPConnection(URL.removeprefix("http://"), timeout=20)
    connection.request("GET", "/api/ps")
    names = [each["name"].removesuffix(":latest") for each in json.loads(connection.getresponse().read())["models"]]
    connection.close()
    return names


@pytest.fixture
def gateway(web):
    """Make a gateway before it."""

    def make(**more):
        part = {"type": "ollama", "model": MODEL, "base_url": URL}
        models = {"keeper": part | more.pop("part", {}), "nobody": part | {"model": "nobody"}}
        config = ServeConfig.model_validate({"engine": None, "models": models, **more})
        return web.running(open_gateway(config, None, project="lemonade", output=Path("serve"), beside={}))

    return make


def test_it_answers_whole_and_in_a_stream_with_the_same_words(web, gateway):
    with gateway() as address:
        body = web.chat(max_tokens=30)
        status, headers, told = web.ask(address, body)
        said = told["choices"][0]["message"]["content"]
        assert status == 200 and headers["x-mlx-route"] == "keeper; asked" and said
        assert told["choices"][0]["finish_reason"] in ("stop", "length") and 0 < told["usage"]["completion_tokens"] <= 30
        text = web.ask(address, body | {"stream": True, "stream_options": {"include_usage": True}})[2]
        events = web.events(text)
        assert "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"]) == said
        assert not any(each.get("usage") for each in events), "it does not count what it streams, and no nought is made up"


def test_a_model_that_it_does_not_have_is_told_and_a_wrong_request_refused(web, gateway):
    with gateway() as address:
        status, _, told = web.ask(address, web.chat(model="nobody"))
        assert status in (404, 502, 503) and "nobody" in told["error"]["message"], told
        assert web.ask(address, web.chat(n=2))[0] == 400


def test_residency_loads_and_unloads_it(web, gateway):
    with gateway(part={"ram_gb": 1}, residency={"ram_gb": 1.5}) as address:
        assert web.ask(address, web.chat(max_tokens=5))[0] == 200 and loaded() == [MODEL]
        assert web.ask(address, path="/health", method="GET")[2]["residency"][0]["state"] == "ready"


def test_it_is_unloaded_when_it_is_asked_to(web):
    import asyncio

    from src.serve.engines.ollama import OllamaEngine

    async def story():
        engine = OllamaEngine(type="ollama", model=MODEL, base_url=URL).open(None, name="k", max_new_tokens=None, log=Path("log"))
        await engine.run()
        await engine.load()
        there = await engine.look(), loaded()
        await engine.unload()
        gone = await engine.look(), loaded()
        await engine.stop()
        return there, gone

    assert asyncio.run(story()) == ((True, [MODEL]), (False, []))
