import asyncio

import pytest

from src.llm.event_loop import run_to_end


async def three():
    await asyncio.sleep(0)
    return 3


async def fails():
    raise KeyError("x")


def test_from_a_script_and_from_a_notebook():
    async def notebook():
        return run_to_end(three())

    assert run_to_end(three()) == 3
    assert asyncio.run(notebook()) == 3


def test_errors_come_through():
    with pytest.raises(KeyError):
        run_to_end(fails())
