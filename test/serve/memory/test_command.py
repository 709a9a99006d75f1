"""`mlx memory`: with a server that runs, and without one."""

import asyncio
import threading
from pathlib import Path

import pytest

from src.serve.embedding.embedder import Hashing
from src.serve.memory import Memory
from src.serve.memory.link import SOCKET, MemoryLink
from src.store.numpy import Numpy


@pytest.fixture
def mlx(command):
    Path("memory_bank").mkdir()
    text = "# Tech\n## Database\nPostgres holds the invoices.\n\n## Queue\nRedis passes jobs on."
    Path("memory_bank/techContext.md").write_text(text)
    model = "{type: openai, url: 'http://127.0.0.1:9/v1', model: a}"
    memory = "{store: {type: numpy}, embedder: {type: hashing}}"
    Path("lamp.yaml").write_text(f"name: lamp\nserve:\n  engine: null\n  models: {{a: {model}}}\n  memory: {memory}\n")

    return lambda *arguments: command("memory", *arguments, "lamp.yaml")


def found_and_reindexed(mlx):
    code, out, err = mlx("search", "Which database holds invoices?", "-n", "1")
    assert code == 0 and "techContext.md > Tech > Database" in out and "      Postgres holds the invoices." in out and "Redis" not in out, (
        err
    )
    Path("memory_bank/lens.md").write_text("# Lens\nFresnel.")
    assert "2 files, 3 passages: 1 added, 0 forgotten" in mlx("reindex")[1]
    Path("memory_bank/lens.md").unlink()
    assert "1 files, 2 passages: 0 added, 1 forgotten" in mlx("reindex")[1]


def test_without_a_server_it_opens_the_memory_itself(mlx):
    found_and_reindexed(mlx)
    assert "1 files, 2 passages: 2 added" in mlx("reindex", "--anew")[1]


def test_with_a_server_it_asks_the_process_that_has_it(mlx):
    config = Memory(store=Numpy(), embedder=Hashing(), watch=600)
    link = MemoryLink(config, "lamp", path=Path("data/lamp/serve") / SOCKET, log=Path("memory.log"))
    ready, end = threading.Event(), threading.Event()

    async def keep():
        running = asyncio.create_task(link.keeper.run())
        while not end.is_set():
            await asyncio.sleep(0.05)
            if link.state == "ready":
                ready.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(keep(),))
    thread.start()
    try:
        assert ready.wait(60)
        found_and_reindexed(mlx)
        code, _, err = mlx("reindex", "--anew")
        assert code == 2 and "a server has this memory open" in err
    finally:
        end.set()
        thread.join()


def test_a_project_without_memory_is_told_how_to_get_one(mlx):
    text = Path("lamp.yaml").read_text().split("  memory:")[0]
    Path("lamp.yaml").write_text(text)
    code, _, err = mlx("search", "x")
    assert code == 2 and "has no serve.memory" in err and "memory_bank" in err
