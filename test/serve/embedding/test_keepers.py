"""One embedder for memory and routes, unless they want different ones."""

import json
from pathlib import Path

from src.serve import ServeConfig
from src.serve.embedding.keepers import embedders

EXAMPLES = {"fast": ("Hello",)}


def kept(classifier, *, examples=EXAMPLES, memory=True):
    settings = {
        "engine": None,
        "models": {"fast": {"type": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"}},
        "routes": {"name": "auto", "default": "fast", "examples": EXAMPLES, "classifier": classifier},
        "memory": {"embedder": {"type": "hashing"}} if memory else None,
    }
    found = embedders(ServeConfig.model_validate(settings), examples, output=Path("out"), logs=Path("log"))
    return {key: json.loads(keeper._told) for key, keeper in found.items()}


def test_memory_and_routes_share_one_process_that_has_the_examples():
    ((key, told),) = kept({"embedder": {"type": "hashing"}, "neighbours": 3}).items()
    assert key == "hashing-2048" and told["examples"] == {"fast": ["Hello"]} and told["neighbours"] == 3


def test_where_they_want_different_ones_each_has_its_own_and_none_is_started_for_nobody():
    found = kept({"embedder": {"type": "minilm"}})
    assert set(found) == {"hashing-2048", "minilm"} and not found["hashing-2048"]["examples"] and found["minilm"]["examples"]
    assert set(kept({}, examples={})) == {"hashing-2048"} and kept({}, examples={}, memory=False) == {}
