"""Memory in a process of its own: what it gives, and that nothing waits for it."""

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from src.serve.embedding.embedder import Hashing
from src.serve.memory import Memory
from src.serve.memory.link import MemoryLink, with_memory
from src.serve.request import RequestError
from src.store.numpy import Numpy

FOLDER = Path("memory_bank")
SOCKET = Path("run/memory.sock")


@pytest.fixture
def config():
    FOLDER.mkdir()
    (FOLDER / "projectbrief.md").write_text("# Brief\nA lighthouse that answers.")
    (FOLDER / "techContext.md").write_text("# Tech\n## Database\nPostgres holds the invoices.\n\n## Queue\nRedis passes the jobs on.")
    return Memory(store=Numpy(), embedder=Hashing(), watch=0.1, deadline=2.0)


@asynccontextmanager
async def linked(config, **more):
    link = MemoryLink(config, "test", path=more.get("path", SOCKET), log=Path("memory.log"))
    keeping = asyncio.create_task(link.keeper.run())
    try:
        yield link
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, Path("memory.log").read_text()[-2000:]
        await asyncio.sleep(0.05)


async def ready(link):
    await until(lambda: link.state == "ready")


def pid(link):
    return link.keeper._launcher.pid


def test_it_recalls_with_sources_searches_and_takes_up_what_changes(config):
    async def go():
        async with linked(config) as link:
            await ready(link)
            assert oct(SOCKET.stat().st_mode & 0o777) == "0o600", "others on this machine could ask"
            found = await link.recall("Which database holds the invoices?", budget=300)
            assert found.sources[:2] == ("projectbrief.md", "techContext.md")
            assert found.files == ("projectbrief.md", "techContext.md")
            assert "| Postgres holds the invoices." in found.text
            assert (await link.recall("Which database?", budget=3)).text == ""
            assert len((await link.recall("Which database?", budget=110)).text) <= 330
            hits = (await link.ask("search", question="Who passes jobs on?", k=1))["found"]
            assert hits[0]["source"] == "techContext.md > Tech > Queue" and hits[0]["score"] > 0.1
            added = await link.ask("add", file="notes/keeper.md", text="# Keeper\nHer name is Ida.", append=False)
            assert (added["file"], added["added"]) == ("notes/keeper.md", 1)
            assert (FOLDER / "notes/keeper.md").read_text() == "# Keeper\nHer name is Ida.\n"
            assert "notes/keeper.md" in (await link.recall("What is the keeper's name?", budget=400)).files
            (FOLDER / "notes/keeper.md").unlink()
            (FOLDER / "lens.md").write_text("# Lens\nFresnel, first order.")
            await until(lambda: link.keeper.told.get("files") == 3 and link.keeper.told.get("passages") == 4)
            found = await link.recall("What is the keeper's name, and which lens?", budget=400)
            assert "lens.md" in found.files and "notes/keeper.md" not in found.files
            with pytest.raises(RequestError) as refused:
                await link.ask("add", file="lens.md", text="x", append=False)
            assert refused.value.status == 409

    asyncio.run(go())


def test_killed_under_load_it_is_done_without_and_comes_back(config):
    async def go():
        async with linked(config) as link:
            await ready(link)
            killed = pid(link)
            slowest, with_it, without = 0.0, 0, 0

            async def client():
                nonlocal slowest, with_it, without
                for _ in range(40):
                    began = time.monotonic()
                    found = await link.recall("Which database?", budget=300)
                    slowest = max(slowest, time.monotonic() - began)
                    with_it, without = with_it + bool(found), without + (found is None)
                    await asyncio.sleep(0.01)

            clients = [asyncio.create_task(client()) for _ in range(8)]
            await asyncio.sleep(0.1)
            os.kill(killed, signal.SIGKILL)
            await asyncio.gather(*clients)
            assert with_it + without == 320 and without > 0
            assert slowest < config.deadline + 0.5
            await until(lambda: link.state == "ready" and pid(link) != killed)
            assert (await link.recall("Which database?", budget=300)).files

    asyncio.run(go())


def test_a_hung_process_costs_its_deadline_a_few_times_and_then_nothing(config):
    async def go():
        async with linked(config.model_copy(update={"deadline": 0.2})) as link:
            await ready(link)
            os.kill(pid(link), signal.SIGSTOP)
            try:
                for _ in range(3):
                    assert await link.recall("Which database?", budget=300) is None
                began = time.monotonic()
                assert await link.recall("Which database?", budget=300) is None
                assert time.monotonic() - began < 0.05, "it was waited for again"
            finally:
                os.kill(pid(link), signal.SIGCONT)

    asyncio.run(go())


def test_workers_share_one_process_and_another_keeps_it_when_one_ends(config):
    async def go():
        async with linked(config) as second_to_last:
            pass
        assert second_to_last.state != "ready"
        async with linked(config) as first:
            await ready(first)
            async with linked(config) as second:
                await ready(second)
                assert second.keeper._launcher is None, "two processes for one memory"
                assert (await second.recall("Which database?", budget=300)).files
        async with linked(config) as third:
            await ready(third)
            assert third.keeper._launcher is not None

    asyncio.run(go())


def test_a_store_that_fails_is_told_and_tried_again(config):
    index = Path("index")
    index.write_text("a file where the folder belongs")

    async def go():
        async with linked(config.model_copy(update={"index": index})) as link:
            await until(lambda: link.state == "unavailable")
            assert await link.recall("Which database?", budget=300) is None
            with pytest.raises(RequestError) as refused:
                await link.ask("search", question="?", k=1)
            assert refused.value.status == 503 and str(index) not in json.dumps(refused.value.body)
            index.unlink()
            await ready(link)
            assert await link.recall("Which database?", budget=300)

    asyncio.run(go())


def test_memory_stands_in_the_last_turn_of_the_user_and_has_none_of_its_own():
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    asked = [*said, {"role": "user", "content": "c"}, {"role": "tool", "tool_call_id": "1", "content": "d"}]
    made = with_memory(asked, "<memory>…</memory>")
    assert [message["role"] for message in made] == [message["role"] for message in asked]
    assert made[3]["content"] == "<memory>…</memory>\n\nc" and made[:3] == said
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = with_memory([{"role": "user", "content": [{"type": "text", "text": "c"}, image]}], "m")
    assert parts[0]["content"] == [{"type": "text", "text": "m\n\n"}, {"type": "text", "text": "c"}, image]
    assert with_memory(said[:1], "m") == said[:1] and with_memory(said, "") is said
    assert said[1]["content"] == "a", "the client's own messages were changed"
