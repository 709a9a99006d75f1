"""The process of the embedder: what waits is embedded together, a question never waits for more than a few texts, and nothing twice."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from src.serve.beside.answering import Refused, answering
from src.serve.embedding.embedder import Hashing
from src.serve.embedding.packed import unpacked
from src.serve.embedding.process import QUESTIONS, TEXTS, Embedding
from src.serve.embedding.remote import RemoteEmbedder
from src.store.failure import StoreError

SETTINGS = {"embedder": {"type": "hashing"}, "examples": {}, "neighbours": 1}
EXAMPLES = {"coding": ["Fix the bug in this function"], "weather": ["Will it rain tomorrow in Lima"]}


class Held:
    """Embeds as hashing does, once it is let go; tells what came together."""

    dimension = 64

    def __init__(self):
        self.seen, self.go = [], threading.Event()

    def embed(self, texts):
        self.seen.append(list(texts))
        assert self.go.wait(10)
        return Hashing(dimension=64).open().embed(texts)


async def made(settings=SETTINGS, embedder=None):
    found = Embedding(settings)
    with pytest.raises(Refused, match="loading"):
        await found.handle({"do": "question", "within": 5, "text": "x"})
    running = asyncio.create_task(found.run())
    while found.state["state"] == "loading":
        await asyncio.sleep(0.01)
    found.embedder = embedder or found.embedder
    return found, running


def question(embedding, text, do="question"):
    return asyncio.create_task(embedding.handle({"do": do, "within": 10, "text": text}))


async def ended(running):
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_questions_that_wait_are_embedded_together_and_texts_in_between_few_at_a_time():
    async def go():
        held = Held()
        embedding, running = await made(embedder=held)
        texts = asyncio.create_task(embedding.handle({"do": "texts", "within": 10, "texts": [f"text {n}" for n in range(7)]}))
        while not held.seen:
            await asyncio.sleep(0.01)
        questions = [question(embedding, f"question {n}") for n in range(QUESTIONS)]
        await asyncio.sleep(0.05)
        held.go.set()
        found = await asyncio.gather(*questions)
        assert [len(each) for each in held.seen[:2]] == [TEXTS, QUESTIONS], "questions waited for all the texts"
        assert len((await texts)["vectors"]) == 7
        alone = Hashing(dimension=64).open().embed(["question 3"])[0]
        assert np.array_equal(unpacked(found[3]["vector"]), alone)
        await ended(running)

    asyncio.run(go())


def test_what_memory_and_routes_both_ask_about_is_embedded_once():
    async def go():
        embedding, running = await made(SETTINGS | {"examples": EXAMPLES})
        held = embedding.embedder = Held()
        held.go.set()
        embedding.examples.vectors = {task: Hashing(dimension=64).open().embed(texts) for task, texts in EXAMPLES.items()}
        found = await question(embedding, "Fix this function", "task")
        assert found["task"] == "coding" and found["score"] >= found["margin"] > 0.1
        assert unpacked((await question(embedding, " Fix this function\n"))["vector"]).shape == (64,)
        assert held.seen == [["Fix this function"]]
        await ended(running)

    asyncio.run(go())


def test_an_embedder_that_cannot_be_had_is_told():
    async def go():
        embedding, running = await made({**SETTINGS, "embedder": {"type": "minilm", "model": "nowhere"}})
        await running
        assert embedding.state["state"] == "failed"
        assert any(words in embedding.state["why"] for words in ("no folder", "--extra semantic"))
        with pytest.raises(Refused, match="failed"):
            await embedding.handle({"do": "question", "within": 5, "text": "x"})

    asyncio.run(go())


def test_an_embedder_elsewhere_is_waited_for_and_where_it_failed_that_is_told():
    async def go():
        embedding = Embedding({**SETTINGS, "embedder": {"type": "minilm", "model": "nowhere"}})
        waiting = asyncio.create_task(RemoteEmbedder(Path("e.sock")).ready())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        serving = asyncio.create_task(answering(Path("e.sock"), embedding.handle, embedding.run()))
        with pytest.raises(StoreError, match=r"nowhere|--extra semantic"):
            await asyncio.wait_for(waiting, 30)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(go())
