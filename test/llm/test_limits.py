"""The rates, on a clock that stands still but for the waiting."""

import asyncio
from itertools import pairwise

import pytest

from src.llm.limits import Limits


class Clock:
    """Sleepers wake in order; nothing else takes time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds
        await asyncio.sleep(0)


def admitted(count, *, tokens=0, used=None, late=0.0, **rates):
    """When each of `count` calls was let through; `late` is what each waker oversleeps."""
    clock = Clock()
    times = []

    async def sleep(seconds):
        await clock.sleep(seconds + late)

    async def all_of_them():
        limits = Limits(clock=clock, sleep=sleep, **rates)
        for _ in range(count):
            await limits.admit(tokens)
            times.append(clock.now)
            if used is not None:
                limits.settle(expected=tokens, used=used)

    asyncio.run(all_of_them())
    return times


def busiest(times, weight=1):
    return max(sum(1 for each in times if start <= each < start + 60) for start in times) * weight


@pytest.mark.parametrize("rate", [1, 3, 59, 60, 100, 500, 3000])
def test_no_minute_holds_more_requests_than_allowed_and_hardly_fewer(rate):
    times = admitted(max(4, 3 * rate), requests_per_minute=rate)
    assert busiest(times) <= rate
    assert len(times) / (times[-1] - times[0]) * 60 >= 0.95 * rate


def test_sleep_that_lasts_too_long_is_caught_up_on():
    times = admitted(1500, requests_per_minute=600, late=0.05)
    assert 0.95 * 600 <= 1499 / (times[-1] - times[0]) * 60 <= 600
    assert busiest(times) <= 600


@pytest.mark.parametrize(("expected", "used"), [(100, 100), (300, 100), (50, 100)])
def test_tokens_are_held_to_what_calls_really_took(expected, used):
    times = admitted(2000, tokens=expected, used=used, tokens_per_minute=60_000)
    per_minute = 1999 * used / (times[-1] - times[0]) * 60
    assert 0.95 * 60_000 <= per_minute <= 60_000
    assert busiest(times, used) <= 60_000


def test_the_tighter_of_two_rates_holds():
    times = admitted(300, tokens=100, used=100, requests_per_minute=600, tokens_per_minute=6000)
    assert busiest(times) <= 60


def test_a_call_larger_than_the_brim_passes_and_is_paid_off():
    times = admitted(5, tokens=5000, used=5000, tokens_per_minute=60_000)
    assert all(4.9 < later - sooner < 5.3 for sooner, later in pairwise(times[1:]))


def test_a_failed_call_gives_its_tokens_back():
    clock = Clock()

    async def go():
        limits = Limits(clock=clock, sleep=clock.sleep, tokens_per_minute=6000)
        await limits.admit(60)
        start = clock.now
        limits.refund(60)
        await limits.admit(60)
        return clock.now - start

    assert asyncio.run(go()) == 0


def test_one_call_turned_away_delays_none_but_three_in_a_row_delay_all():
    clock = Clock()

    async def go():
        limits = Limits(clock=clock, sleep=clock.sleep)
        waits = []
        for strikes in (2, 2, 3):
            for _ in range(strikes):
                limits.turned_away(7)
            before = clock.now
            await limits.admit(1)
            waits.append(clock.now - before)
            limits.settle(expected=1, used=1)
        return waits

    assert asyncio.run(go()) == [0, 0, 7]


def test_without_limits_nobody_waits():
    assert set(admitted(100, tokens=10**9)) == {0.0}
