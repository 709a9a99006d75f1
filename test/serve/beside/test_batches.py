"""Rows of several requests share batches, and none is lost, doubled or mixed up."""

import asyncio
import threading
import time

import pytest

from src.serve.beside.answering import Refused
from src.serve.beside.batches import Batches


class Model:
    """Doubles numbers, and can be held at a batch."""

    def __init__(self):
        self.seen = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, rows):
        self.seen.append(list(rows))
        assert self.go.wait(10)
        if "bad" in rows:
            raise ValueError("bad")
        return [2 * row for row in rows]


def running(test, model, **settings):
    async def go():
        batches = Batches(model, **{"most": 4, "wait": 0.02, "queue": 100, **settings})
        task = asyncio.create_task(batches.run())
        try:
            await test(batches)
        finally:
            model.go.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())


def test_requests_that_come_together_share_a_batch_and_each_gets_its_own():
    model = Model()

    async def test(batches):
        found = await asyncio.gather(*(batches.ask([number, number + 10], 5) for number in range(5)))
        assert found == [[2 * number, 2 * number + 20] for number in range(5)]
        assert await batches.ask([7] * 9, 5) == [14] * 9

    running(test, model)
    assert [len(batch) for batch in model.seen] == [4, 4, 2, 4, 4, 1]


def test_a_row_alone_waits_no_longer_than_it_may():
    model = Model()

    async def test(batches):
        began = time.monotonic()
        assert await batches.ask([1], 5) == [2]
        assert 0.05 <= time.monotonic() - began < 1

    running(test, model, wait=0.05)


def test_what_comes_while_the_model_works_goes_into_its_next_step():
    model = Model()
    model.go.clear()

    async def test(batches):
        first = asyncio.create_task(batches.ask([0], 5))
        while not model.seen:
            await asyncio.sleep(0.005)
        rest = [asyncio.create_task(batches.ask([number], 5)) for number in (1, 2, 3)]
        await asyncio.sleep(0.05)
        model.go.set()
        assert await asyncio.gather(first, *rest) == [[0], [2], [4], [6]]

    running(test, model)
    assert model.seen == [[0], [1, 2, 3]]


def test_too_many_are_refused_and_a_large_request_alone_is_not():
    model = Model()
    model.go.clear()

    async def test(batches):
        first = asyncio.create_task(batches.ask([1] * 12, 5))
        while not model.seen:
            await asyncio.sleep(0.005)
        with pytest.raises(Refused) as refused:
            await batches.ask([1, 2, 3], 5)
        assert refused.value.why == "overloaded"
        model.go.set()
        assert await first == [2] * 12

    running(test, model, queue=10)


def test_what_nobody_waits_for_is_not_done_and_a_fault_hits_only_its_batch():
    model = Model()
    model.go.clear()

    async def test(batches):
        first = asyncio.create_task(batches.ask([1], 5))
        while not model.seen:
            await asyncio.sleep(0.005)
        gone = asyncio.create_task(batches.ask([2], 5))
        late = asyncio.create_task(batches.ask([3], 0.01))
        await asyncio.sleep(0.05)
        gone.cancel()
        model.go.set()
        assert await first == [2]
        with pytest.raises(Refused) as refused:
            await late
        assert refused.value.why == "late"
        with pytest.raises(ValueError, match="bad"):
            await batches.ask(["bad"], 5)
        assert await batches.ask([4], 5) == [8]

    running(test, model)
    assert model.seen == [[1], ["bad"], [4]]
