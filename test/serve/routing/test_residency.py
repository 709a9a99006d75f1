"""Whatever is asked when: the budget holds, no answer is cut, everybody is served or refused in time. Hours pass on a virtual clock."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.serve.request import RequestError
from src.serve.routing.residency import Residency
from src.serve.routing.room import Need, Slot, lacking, victims
from src.serve.routing.settings import Budgets

from .virtual import run


@dataclass
class Machine:
    """Models with sizes and loading times, and a look at what is loaded at every moment."""

    needs: dict
    whole: Need
    load_seconds: float = 5.0
    unload_seconds: float = 1.0
    broken: dict = field(default_factory=dict)
    """How often a model fails to load."""
    loaded: set = field(default_factory=set)
    answering: list = field(default_factory=list)
    loads: list = field(default_factory=list)
    peak: float = 0.0

    async def load(self, name):
        assert name not in self.loaded
        self.loaded.add(name)
        self.loads.append(name)
        taken = sum((self.needs[each] for each in self.loaded), Need())
        assert not lacking(taken, self.whole), self.loaded
        self.peak = max(self.peak, taken.vram_gb)
        await asyncio.sleep(self.load_seconds)
        if self.broken.get(name, 0) > 0:
            self.broken[name] -= 1
            raise OSError("the disk is gone")

    async def unload(self, name):
        assert name not in self.answering, "an answer is cut"
        await asyncio.sleep(self.unload_seconds)
        self.loaded.discard(name)

    def residency(self, **more):
        return Residency(
            self.needs,
            Budgets(vram_gb=self.whole.vram_gb, ram_gb=self.whole.ram_gb, **{"linger": 1, "batch": 10, **more}),
            self.load,
            self.unload,
        )


def machine(vram=16, **sizes):
    needs = {name: Need(size, 0) for name, size in (sizes or {"fast": 14, "coder": 14, "small": 2}).items()}
    return Machine(needs, Need(vram, 0))


async def ask(there, residency, name, seconds=1.0, at=0.0, wait=None, log=None):
    """A request: when it came, when it got its turn, when it ended, or how it was refused."""
    await asyncio.sleep(at)
    now = asyncio.get_running_loop().time
    came = now()
    try:
        async with residency.hold(name, wait):
            assert name in there.loaded
            began = now()
            there.answering.append(name)
            try:
                await asyncio.sleep(seconds)
                assert name in there.loaded, "an answer is cut"
            finally:
                there.answering.remove(name)
            found = (name, came, began, now())
    except RequestError as error:
        found = (name, came, now(), error)
    if log is not None:
        log.append(found)
    return found


async def everybody(there, residency, *requests):
    found = await asyncio.gather(*(ask(there, residency, *each) for each in requests))
    await residency.close()
    return found


def test_a_model_is_loaded_once_for_all_that_ask():
    there = machine()

    async def work():
        return await everybody(there, there.residency(), *[("fast", 2.0)] * 5)

    assert {(began, ended) for _, _, began, ended in run(work())} == {(5, 7)}
    assert there.loads == ["fast"]


def test_models_that_fit_together_stay_together():
    there = machine()

    async def work():
        residency = there.residency()
        found = await everybody(there, residency, ("fast", 1), ("small", 1), ("fast", 1, 10), ("small", 1, 10))
        return found, residency.swaps

    found, swaps = run(work())
    assert swaps == 0
    assert [began - came for _, came, began, _ in found] == [5, 5, 0, 0]


def test_a_swap_waits_for_the_answer_under_way():
    there = machine()

    async def work():
        return await everybody(there, there.residency(), ("fast", 100), ("coder", 1, 6))

    (_, _, _, ended), (_, _, began, _) = run(work())
    assert ended == 105
    assert 105 + 1 + 5 <= began <= 105 + 1 + 5 + 1  # linger, unload, load


def test_the_least_recently_used_goes():
    there = machine(16, a=8, b=8, c=8)

    async def work():
        return await everybody(there, there.residency(), ("a", 1), ("b", 1, 10), ("a", 1, 20), ("c", 1, 30), ("a", 1, 60))

    found = run(work())
    assert there.loads == ["a", "b", "c"]
    assert found[-1][2] == found[-1][1]


def test_what_waited_longest_comes_next_however_much_the_loaded_one_is_asked():
    there = machine()

    async def work():
        stream = [("fast", 2.0, n * 0.5) for n in range(200)]  # never idle for 100 s
        return await everybody(there, there.residency(), *stream, ("coder", 1, 10.0, 90))

    coder = run(work())[-1]
    assert coder[2] - coder[1] <= 10 + 2 + 1 + 5 + 0.01  # batch, the answer under way, unload, load


def test_a_short_batch_of_the_loaded_models_requests_goes_first():
    there = machine()

    async def work():
        agent = [("fast", 1.0, 6 + 1.5 * n) for n in range(4)]  # one after another, half a second between them
        return await everybody(there, there.residency(), ("fast", 1), ("coder", 1, 6.1), *agent)

    found = run(work())
    assert there.loads == ["fast", "coder"]
    assert all(began == came for _, came, began, _ in found[2:])


def test_who_waits_too_long_is_told_when_to_come_again():
    there = machine()

    async def work():
        return await everybody(there, there.residency(), ("fast", 100), ("coder", 1, 6, 20))

    _, came, refused, error = run(work())[1]
    assert refused - came == 20
    assert error.status == 503
    assert error.body["error"]["code"] == "model_waiting"
    assert "fast is draining" in str(error)
    assert int(error.headers["retry-after"]) >= 1
    assert there.loads == ["fast"]


def test_who_leaves_while_waiting_holds_up_nobody():
    there = machine()

    async def work():
        residency = there.residency()
        first = asyncio.ensure_future(ask(there, residency, "fast", 30))
        second = asyncio.ensure_future(ask(there, residency, "coder", 1, 6))
        await asyncio.sleep(20)  # it drains for coder by now
        assert not residency.is_loaded("fast")
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        assert residency.is_loaded("fast")
        third = await ask(there, residency, "fast", 1)
        await first
        await residency.close()
        return third

    found = run(work())
    assert found[2] == found[1]
    assert there.loads == ["fast"]


def test_a_model_that_does_not_load_is_told_and_tried_again_later():
    there = machine()
    there.broken = {"coder": 1}

    async def work():
        residency = there.residency(retry=15)
        first = await ask(there, residency, "coder", 1)
        soon = await ask(there, residency, "coder", 1, 1)
        later = await ask(there, residency, "coder", 1, 20)
        await residency.close()
        return first, soon, later

    first, soon, later = run(work())
    assert first[3].body["error"]["code"] == soon[3].body["error"]["code"] == "model_not_loaded"
    assert "the disk is gone" in str(first[3])
    assert soon[2] == soon[1]  # at once, and nothing is unloaded for it
    assert isinstance(later[3], float)


def test_a_load_without_end_is_given_up():
    there = machine()
    there.load_seconds = 1e6

    async def work():
        return await everybody(there, there.residency(load_timeout=30, wait=100), ("coder", 1))

    assert "takes too long" in str(run(work())[0][3])


def test_an_unload_that_fails_is_tried_until_the_memory_is_free():
    there = machine()
    unload, failures = there.unload, [OSError("no"), OSError("no")]

    async def stubborn(name):
        if failures:
            raise failures.pop()
        await unload(name)

    there.unload = stubborn

    async def work():
        return await everybody(there, there.residency(retry=10), ("fast", 1), ("coder", 1, 10))

    assert run(work())[1][2] == 10 + 20 + 1 + 5


def test_what_is_loaded_already_is_taken_up_as_far_as_it_fits():
    there = machine()
    there.loaded = {"fast", "coder"}  # too much: somebody else loaded them

    async def work():
        residency = there.residency()
        residency.adopt("fast")
        residency.adopt("coder")
        states = {row["model"]: row["state"] for row in residency.status()}
        await asyncio.sleep(2)
        assert (await ask(there, residency, "coder"))[2] == 2
        await residency.close()
        return states

    assert run(work()) == {"fast": "unloading", "coder": "ready", "small": "unloaded"}
    assert there.loaded == {"coder"}


def test_models_without_a_size_pass():
    there = machine()
    there.loaded = {"cloud"}

    async def work():
        residency = there.residency()
        assert residency.is_loaded("cloud")
        return await everybody(there, residency, ("cloud", 1))

    assert run(work())[0][2] == 0
    assert there.loads == []


def test_a_model_too_large_alone_is_an_error_before_anything_runs():
    with pytest.raises(ValueError, match=r"'big' needs 20 GB on the GPU \(of 16\) alone"):
        machine(16, big=20).residency()


def test_two_budgets_are_kept_apart():
    slots = [Slot("a", Need(14, 0), "ready", 0, 1), Slot("b", Need(0, 60), "ready", 0, 0)]
    wanted = Need(14, 60) + Need(10, 10)
    assert [slot.name for slot in victims(wanted, Need(16, 128), slots)] == ["a"]  # though b was used longer ago
    assert victims(Need(30, 0), Need(2, 0), slots) == []  # nothing would be won


def test_no_more_go_than_have_to():
    slots = [Slot("small", Need(1, 0), "ready", 0, 0), Slot("large", Need(14, 0), "ready", 0, 1)]
    assert [slot.name for slot in victims(Need(29, 0), Need(16, 0), slots)] == ["large"]
    assert [slot.name for slot in victims(Need(16.5, 0), Need(16, 0), slots)] == ["small"]


request = st.tuples(st.sampled_from("abcd"), st.floats(0, 30), st.floats(0, 60), st.floats(0.5, 80))


@settings(max_examples=250, deadline=None)
@given(
    requests=st.lists(request, min_size=1, max_size=25),
    sizes=st.tuples(*[st.floats(0.5, 10)] * 4),
    seconds=st.tuples(st.floats(0, 20), st.floats(0, 5)),
    broken=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), max_size=2),
    leaving=st.lists(st.tuples(st.integers(0, 24), st.floats(0, 60)), max_size=5),
    waits=st.tuples(st.floats(0, 3), st.floats(0, 12)),
)
def test_nothing_is_cut_exceeded_or_forgotten(requests, sizes, seconds, broken, leaving, waits):
    there = machine(10, **dict(zip("abcd", sizes, strict=True)))
    there.load_seconds, there.unload_seconds = seconds
    there.broken = broken

    async def work():
        residency = there.residency(linger=waits[0], batch=waits[1])
        tasks = [asyncio.ensure_future(ask(there, residency, *each)) for each in requests]

        async def leave(which, at):
            await asyncio.sleep(at)
            tasks[which % len(tasks)].cancel()

        leavers = [asyncio.ensure_future(leave(*each)) for each in leaving]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*leavers)
        await asyncio.sleep(1000)
        left = residency.status()
        await residency.close()
        return found, left

    found, left = run(work())
    for (_, _, _, wait), each in zip(requests, found, strict=True):
        if isinstance(each, asyncio.CancelledError):
            continue
        assert not isinstance(each, BaseException), each
        assert each[2] - each[1] <= wait + 1e-6
    assert all(row["requests"] == row["waiting"] == 0 for row in left)
    assert {row["state"] for row in left} <= {"ready", "unloaded"}


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.sampled_from("abc"), min_size=20, max_size=60), gap=st.floats(0.05, 1.0))
def test_nobody_starves_and_swaps_stay_few(counts, gap):
    there = machine(10, a=9, b=9, c=9)

    async def work():
        residency = there.residency(wait=10_000)
        found = await everybody(there, residency, *[(name, 1.0, gap * n) for n, name in enumerate(counts)])
        return found, residency.swaps

    found, swaps = run(work())
    span = gap * len(counts)
    turn = 10 + 1 + 1 + 5  # batch, an answer, unload, load
    assert all(began - came <= 3 * turn for _, came, began, _ in found)  # two others before it at most
    assert swaps <= 3 + span / 6
