"""What the process of memory answers, asked in this one."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from src.serve.beside.answering import Refused, answering
from src.serve.beside.line import Line, LineError
from src.serve.embedding.embedder import Hashing
from src.serve.embedding.process import Embedding
from src.serve.embedding.remote import RemoteEmbedder
from src.serve.memory import Memory
from src.serve.memory.bank import Bank
from src.serve.memory.process import Remembering, main
from src.store.failure import StoreError
from src.store.numpy import Numpy

FOLDER = Path("memory_bank")


@pytest.fixture
def config():
    FOLDER.mkdir()
    (FOLDER / "techContext.md").write_text("# Tech\n## Database\nPostgres holds the invoices.")
    return Memory(store=Numpy(), embedder=Hashing(), watch=0.05)


@asynccontextmanager
async def remembering(config):
    made = Remembering(config, "test")
    keeping = asyncio.create_task(made.keep())
    while made.fault == "loading":
        with pytest.raises(Refused, match="loading"):
            await made.handle({"do": "search", "within": 1, "question": "x", "k": 1})
        await asyncio.sleep(0.02)
    try:
        yield made
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        made.close()
        if made.bank:
            made.bank.close()


def ask(made, do, within=5, **what):
    return made.handle({"do": do, "within": within, **what})


def test_it_does_what_it_is_asked_and_takes_up_changes(config):
    async def go():
        async with remembering(config) as made:
            assert await ask(made, "state") == {"state": "ready", "files": 1, "passages": 1}
            assert (await ask(made, "search", question="Which database?", k=3))["found"][0]["source"] == "techContext.md > Tech > Database"
            assert (await ask(made, "recall", question="Which database?", budget=300))["sources"] == ["techContext.md"]
            assert (await ask(made, "add", file="lens.md", text="Fresnel", append=False))["added"] == 1
            assert (await ask(made, "reload"))["files"] == 2
            (FOLDER / "lens.md").unlink()
            while len(made.bank.catalogue) > 1:
                await asyncio.sleep(0.02)
            with pytest.raises(Refused) as late:
                await ask(made, "search", within=-1, question="x", k=1)
            assert late.value.why == "late"

    asyncio.run(go())


def test_tokens_are_those_of_the_model_where_its_tokenizer_is_at_hand(config):
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save("tokenizer.json")

    async def go():
        async with remembering(config) as made:
            for budget, fits in ((70, True), (50, False)):
                found = await ask(made, "recall", question="Which database?", budget=budget, tokenizer="tokenizer.json")
                assert bool(found["text"]) == fits, budget
            assert not (await ask(made, "recall", question="Which database?", budget=70, tokenizer="gone.json"))["text"]

    asyncio.run(go())


def test_a_store_that_fails_is_opened_again(config, monkeypatch):
    search = Bank.search

    def fails(*_):
        raise StoreError("no disk")

    async def go():
        async with remembering(config) as made:
            first = made.bank
            monkeypatch.setattr(Bank, "search", fails)
            with pytest.raises(Refused) as refused:
                await ask(made, "search", question="x", k=1)
            assert refused.value.why == "unavailable" and (await ask(made, "state"))["state"] in ("unavailable", "ready")
            monkeypatch.setattr(Bank, "search", search)
            while made.bank is first or made.fault:
                await asyncio.sleep(0.02)
            assert (await ask(made, "search", question="database", k=1))["found"]

    asyncio.run(go())


def test_the_line_carries_answers_refusals_and_faults(config):
    path = Path("x.sock")
    path.write_text("left by one that was killed")

    async def handle(request):
        if request["do"] == "refuse":
            raise Refused("empty", "nothing there")
        if request["do"] == "fail":
            raise ValueError("canary")
        if request["do"] == "wait":
            await asyncio.sleep(5)
        return {"got": request["text"]}

    async def go():
        serving = asyncio.create_task(answering(path, handle, asyncio.sleep(0)))
        await asyncio.sleep(0.1)
        line = Line(path)
        found = await asyncio.gather(*(line.ask("say", within=5, text="ä" * number) for number in range(50)))
        assert [len(each["got"]) for each in found] == list(range(50)) and line.connected
        for do, why, words in (("refuse", "empty", "nothing there"), ("fail", "failed", "ValueError"), ("wait", "late", "0.05 s")):
            with pytest.raises(LineError, match=words) as error:
                await line.ask(do, within=0.05 if do == "wait" else 5, text="")
            assert error.value.why == why and "canary" not in str(error.value)
        await line.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        with pytest.raises(LineError) as error:
            await Line(Path("gone.sock")).ask("say", within=1, text="")
        assert error.value.why == "down"

    asyncio.run(go())


def test_a_process_whose_work_fails_ends_with_it():
    async def fails():
        raise ValueError("no more")

    async def go():
        with pytest.raises(ValueError, match="no more"):
            await asyncio.wait_for(answering(Path("x.sock"), None, fails()), 10)

    asyncio.run(go())
    assert not Path("x.sock").exists()


def test_a_process_whose_work_is_done_goes_on_answering(config):
    async def handle(_):
        return {}

    async def go():
        serving = asyncio.create_task(answering(Path("x.sock"), handle, asyncio.sleep(0)))
        await asyncio.sleep(0.1)
        assert await Line(Path("x.sock")).ask("state", within=5) == {}
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(go())


def test_questions_are_embedded_by_the_process_beside_and_while_it_is_down_nothing_is_recalled(config):
    embedding = Embedding({"embedder": config.embedder.model_dump(), "examples": {}, "neighbours": 1})
    path = Path("e.sock")

    async def go():
        made = Remembering(config, "test", RemoteEmbedder(path))
        keeping = asyncio.create_task(made.keep())
        assert (await ask(made, "state"))["state"] == "loading"
        serving = asyncio.create_task(answering(path, embedding.handle, embedding.run()))
        while made.fault:
            await asyncio.sleep(0.02)
        own = Hashing().open()
        assert made.bank.embedded.embedder is made.embedder
        (hit,) = (await ask(made, "search", question="Which database?", k=1))["found"]
        (chunk,) = made.bank.catalogue.values()
        assert hit["score"] == pytest.approx(own.embed(["Which database?"])[0] @ own.embed([chunk.about])[0], abs=1e-5)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await made.embedder.line.close()  # as the end of a process does
        with pytest.raises(Refused) as refused:
            await ask(made, "recall", question="Another one?", budget=300)
        assert refused.value.why == "down" and (await ask(made, "state"))["state"] == "unavailable"
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        made.close()
        made.bank.close()

    asyncio.run(go())


def test_the_whole_process_ends_when_it_is_asked_to(config):
    import json
    import os
    import signal

    async def go():
        settings = {"project": "test", "memory": config.model_dump(mode="json"), "embedder": None}
        Path("m.json").write_text(json.dumps(settings))
        running = asyncio.create_task(main("m.sock", "m.json"))
        line = Line(Path("m.sock"))
        while not Path("m.sock").exists() or (await line.ask("state", within=5))["state"] != "ready":
            await asyncio.sleep(0.05)
        await line.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 10)
        assert not Path("m.sock").exists()

    asyncio.run(go())
