"""A classifier behind /v1/classify: what it says there is what it says here, whoever else asks."""

import os
import signal
import threading
from pathlib import Path

import pytest

from src.serve.engines.classifier import ClassifierEngine
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

from ..access.conftest import Guarded, Scripted  # noqa: TID252 (one engine for all doors)

LABELS = ("bearish", "neutral", "bullish")
TEXTS = ["oil falls", "gold moves today", "the bank soars " * 3, "the index", "the fund gains and gains", "a"]
PATH = "/v1/classify"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finish):
    """What `mlx train` leaves of a classifier that learned all weights; random ones, so that texts differ."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from src.models.classifier import Classifier
    from src.models.scratch_encoder import wordpiece
    from src.models.template import template_hash

    place = tmp_path_factory.mktemp("classifier")
    tokenizer = wordpiece(TEXTS * 20, vocab=120)
    torch.manual_seed(3)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
    config = BertConfig(vocab_size=len(tokenizer), initializer_range=0.6, id2label=dict(enumerate(LABELS)), **size)
    BertForSequenceClassification(config).save_pretrained(place / "model")
    tokenizer.save_pretrained(place / "model")
    known = {"base": "bert", "base_kind": "hub", "weights": "model", "quantization": "none", "dtype": "fp32", "device": "cpu"}
    more = {"template": template_hash(tokenizer), "labels": LABELS, "priors": (0.2, 0.5, 0.3), "max_tokens": 16, "too_long": "drop"}
    finish(place, info=Classifier(**known, **more).as_info())
    return place


@pytest.fixture(scope="module")
def expected(folder):
    from src.models.classifier import Classifier

    loaded = Classifier.of(folder).open(device="cpu")
    return loaded.probabilities([loaded.encode(text) for text in TEXTS], batch_size=1)


class Served:
    """A server with a classifier and a model that talks; everybody needs a key."""

    def __init__(self, web, address, key, engine):
        self.web, self.address, self.key, self.engine = web, address, key, engine

    def ask(self, texts, **headers):
        return self.post({"model": "sentiment", "input": texts}, **headers)

    def post(self, body=None, **more):
        return self.web.ask(self.address, body, **{"path": PATH, "authorization": f"Bearer {self.key}", **more})

    def ready(self):
        self.web.until(lambda: self.engine.state == "ready", 90)


@pytest.fixture(scope="module")
def served(web, folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    part = ClassifierEngine(model=folder, device="cpu", max_texts=8, max_wait_ms=20)
    engine = part.open(None, name="sentiment", max_new_tokens=None, log=place / "sentiment.log")
    gateway = Gateway({"keeper": Model("keeper", Scripted()), "sentiment": Model("sentiment", engine)})
    guarded = Guarded()
    guarded.folder = place / "serve"
    key = guarded.key()
    access = guarded.access(roles={"user": {"routes": ["/v1/*"], "tokens_per_day": 100_000}})
    with guarded.running(web, gateway, access) as address:
        found = Served(web, address, key, engine)
        found.early = found.ask("oil falls")
        found.ready()
        yield found


def test_as_long_as_it_loads_it_says_so(served):
    status, headers, found = served.early
    assert (status, found["error"]["code"], headers["retry-after"]) == (503, "engine_unavailable", "2")


def test_it_says_what_it_says_here_whoever_else_asks(served, expected):
    status, headers, found = served.ask(TEXTS)
    assert status == 200 and headers["x-mlx-route"].startswith("sentiment;")
    assert [row["index"] for row in found["data"]] == list(range(len(TEXTS)))
    for row, shares in zip(found["data"], expected, strict=True):
        assert list(row["probabilities"]) == list(LABELS)
        assert list(row["probabilities"].values()) == pytest.approx(list(shares), abs=2e-6)
        assert row["label"] == LABELS[shares.argmax()] and row["score"] == max(row["probabilities"].values())
    assert len({row["score"] for row in found["data"]}) == len(TEXTS) and found["usage"]["prompt_tokens"] > 2 * len(TEXTS)

    answers = {}
    clients = [threading.Thread(target=lambda n=n: answers.update({n: served.ask(TEXTS[n])[2]["data"][0]})) for n in range(6)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    for number, row in answers.items():
        assert list(row["probabilities"].values()) == pytest.approx(list(expected[number]), abs=2e-6), "texts were mixed up"


def test_who_talks_and_who_classifies_is_told_and_held_apart(served):
    models = {each["id"]: each["paths"] for each in served.post(path="/v1/models", method="GET")[2]["data"]}
    assert models == {"keeper": ["/v1/chat/completions"], "sentiment": [PATH]}
    assert served.post({**served.web.chat(), "model": "sentiment"}, path="/v1/chat/completions")[0] == 404, "a classifier was talked to"
    assert served.post({"model": "keeper", "input": "x"})[0] == 404


def test_what_cannot_be_classified_is_said_and_by_which_text(served):
    for texts, status, param in (
        (["fine", "  "], 400, "input.1"),
        (["fine", "fine", "oil falls " * 30], 400, "input.2"),
        ([], 400, "input"),
        (["x"] * 9, 413, "input"),
        ([1], 400, "input"),
        (None, 400, "input"),
        ({"text": "x"}, 400, "input"),
    ):
        found = served.ask(texts)
        assert found[0] == status and found[2]["error"]["param"].startswith(param), (texts, found)
    assert "over 16" in served.ask("oil falls " * 30)[2]["error"]["message"]
    assert served.ask("x" * 120_000)[0] == 413
    assert served.ask("\u202e \x00 <pad> [CLS] =1+1 🌊")[0] == 200


def test_texts_count_for_the_budget_of_a_key(served):
    def spent():
        return served.post(path="/v1/budget", method="GET")[2]["limits"]["tokens_per_day"]["used"]

    before = spent()
    used = served.ask("oil falls")[2]["usage"]["total_tokens"]
    assert used > 0 and spent() == before + used
    assert served.ask("oil falls", authorization="Bearer nobody")[0] == 401


@pytest.mark.slow
def test_killed_it_comes_back_and_says_so_in_between(served):
    os.kill(served.engine._keeper._launcher.pid, signal.SIGKILL)
    served.web.until(lambda: served.engine.state != "ready")
    status, headers, found = served.ask("oil falls")
    assert (status, found["error"]["type"]) == (503, "server_error") and headers["retry-after"]
    served.ready()
    assert served.ask("oil falls")[0] == 200


def test_only_a_classifier_is_served_so(trained_folder):
    from src.core.errors import MlxError

    with pytest.raises(MlxError, match="is no classifier"):
        ClassifierEngine(model=trained_folder).open(None, name="x", max_new_tokens=None, log=Path("x.log"))
