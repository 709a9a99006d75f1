"""What the process of a classifier answers, asked in this one."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from src.models.classifier import Classifier
from src.models.conversation import Fault
from src.serve.beside.answering import Refused
from src.serve.classify.process import Classifying

SETTINGS = {"folder": "nowhere", "device": "cpu", "max_batch": 4, "max_wait": 0.01, "queue": 8}


class Loaded:
    """Gives the first class a probability by the length of the text."""

    labels = ("short", "long")
    max_tokens = 9

    def encode(self, text):
        return (
            list(range(len(text))) if 0 < len(text) <= 9 else Fault("too_long", f"{len(text)} tokens, over 9") if text else Fault("no_text")
        )

    def probabilities(self, rows, batch_size=16):
        return np.array([[1 - len(row) / 10, len(row) / 10] for row in rows])


def test_it_loads_then_answers_in_batches(monkeypatch):
    monkeypatch.setattr(Classifier, "of", lambda folder: type("Found", (), {"open": lambda self, device: Loaded()})())

    async def go():
        made = Classifying(SETTINGS)
        assert (await made.handle({"do": "state"}))["state"] == "loading"
        with pytest.raises(Refused, match="loading"):
            await made.handle({"do": "classify", "within": 5, "texts": ["a"]})
        running = asyncio.create_task(made.run())
        while made.state["state"] != "ready":
            await asyncio.sleep(0.01)
        found = await asyncio.gather(*(made.handle({"do": "classify", "within": 5, "texts": ["a" * n, "b"]}) for n in (2, 3, 4)))
        assert [each["probabilities"] for each in found] == [[[1 - n / 10, n / 10], [0.9, 0.1]] for n in (2, 3, 4)]
        assert found[0]["labels"] == ["short", "long"] and found[2]["tokens"] == [4, 1]
        assert (await made.handle({"do": "state"}))["batch"] == 3
        for texts, why in ((["a", "b" * 10], "too_long"), ([""], "no_text")):
            with pytest.raises(Refused) as refused:
                await made.handle({"do": "classify", "within": 5, "texts": texts})
            assert refused.value.why == why and f'"at": {len(texts) - 1}' in str(refused.value)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())


def test_a_training_that_is_gone_is_told():
    async def go():
        made = Classifying({**SETTINGS, "folder": str(Path("nowhere"))})
        await made.run()
        assert made.state["state"] == "failed" and "nowhere" in made.state["why"]

    asyncio.run(go())
