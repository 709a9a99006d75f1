"""A process that never answers is given up, told, and tried again."""

import asyncio
from pathlib import Path

from src.serve.beside import keeper
from src.serve.beside.keeper import Keeper


def test_a_process_that_never_answers_is_told_and_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(keeper, "PAUSE", 0.2)

    async def go():
        kept = Keeper("src.no_such_module", {}, path=Path("x.sock"), log=Path("x.log"))
        running = asyncio.create_task(kept.run())
        for _ in range(400):
            await asyncio.sleep(0.05)
            if Path("x.log").exists() and Path("x.log").read_text().count("No module named") > 1:
                break
        assert kept.state in ("failed", "starting") and not kept.told
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())
    assert "it is tried again in 0.2 s" in caplog.text and Path("x.log").read_text().count("No module named") > 1


def test_a_path_too_long_for_a_socket_is_shortened_from_the_working_folder():
    deep = Path.cwd() / ("folder" * 12) / "memory.sock"
    assert keeper._short(deep) == Path("folder" * 12) / "memory.sock"
    assert keeper._short(Path("/tmp/x.sock")) == Path("/tmp/x.sock")
