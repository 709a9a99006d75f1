"""As many as the limit are let through, whatever comes at once."""

import asyncio
import json
import time

import aiohttp
import pytest

from src.serve.access.caller import Caller
from src.serve.access.memory_limits import InMemory
from src.serve.access.settings import RedisLimits, Role
from src.serve.access.visit import TEMPLATE
from src.serve.request import RequestError


def caller(number="k", **limits):
    return Caller(number, "ann", "user", Role(**limits), "key")


@pytest.fixture(params=["memory", "redis"])
def limits(request):
    """Makes servers' limits; those of Redis share their counts."""
    if request.param == "memory":
        shared = InMemory()
        return lambda: shared
    port = request.getfixturevalue("redis_port")
    from src.serve.access.redis_limits import InRedis

    settings = RedisLimits(prefix=f"test{time.time_ns()}", timeout=20)
    return lambda: InRedis(settings, f"redis://127.0.0.1:{port}/0")


async def passed(*steps):
    """How many of the steps are let through, and the refusals of the others."""
    found = await asyncio.gather(*steps, return_exceptions=True)
    refused = [each for each in found if each is not None]
    assert all(isinstance(each, RequestError) for each in refused), refused
    return len(found) - len(refused), refused


@pytest.mark.parametrize(("many", "limit"), [(1, 1), (40, 1), (60, 7), (30, 29), (20, 20)])
def test_exactly_as_many_requests_as_allowed(limits, many, limit):
    async def run():
        replicas = [limits(), limits()]
        who, other = caller(requests_per_minute=limit), caller("other", requests_per_minute=1)
        through, refused = await passed(*(replicas[n % 2].enter(who, f"t{n}") for n in range(many)))
        assert through == min(many, limit)
        assert all(each.status == 429 and 55 <= int(each.headers["retry-after"]) <= 60 for each in refused)
        await replicas[0].enter(other, "o")
        for each in replicas:
            await each.close()

    asyncio.run(run())


def test_a_place_is_free_again_when_its_request_ends(limits):
    async def run():
        counts, who = limits(), caller(concurrent=3)
        through, refused = await passed(*(counts.enter(who, f"t{n}") for n in range(20)))
        assert through == 3 and "3 requests at once" in str(refused[0]) and refused[0].headers["retry-after"] == "1"
        for n in range(20):
            await counts.leave(who, f"t{n}", 0)
        assert (await passed(*(counts.enter(who, f"u{n}") for n in range(20))))[0] == 3
        await counts.close()

    asyncio.run(run())


def test_a_caller_may_look_at_what_is_used(limits):
    async def run():
        counts, other = limits(), limits()
        who = caller(requests_per_minute=9, tokens_per_day=1000)
        nothing = {"requests_per_minute": 0, "tokens_per_minute": 0, "tokens_per_day": 0, "concurrent": 0}
        assert await counts.standing(who) == nothing
        for ticket in "ab":
            await counts.enter(who, ticket)
            await counts.reserve(who, ticket, 100)
        assert await other.standing(who) == {
            **nothing,
            "requests_per_minute": 2,
            "tokens_per_minute": 200,
            "tokens_per_day": 200,
            "concurrent": 2,
        }
        await counts.leave(who, "a", 30)
        assert await counts.standing(who) == {"requests_per_minute": 2, "tokens_per_minute": 130, "tokens_per_day": 130, "concurrent": 1}
        assert await counts.standing(caller("another")) == nothing
        await counts.close()
        await other.close()

    asyncio.run(run())


@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day"])
def test_no_token_is_overspent_and_what_was_not_used_comes_back(limits, limit):
    async def run():
        counts, who = limits(), caller(**{limit: 1000})
        through, refused = await passed(*(counts.reserve(who, f"t{n}", 90) for n in range(40)))
        assert through == 11 and all(each.status == 429 and int(each.headers["retry-after"]) >= 1 for each in refused)
        for n in range(40):
            await counts.leave(who, f"t{n}", 10)
        assert (await passed(*(counts.reserve(who, f"u{n}", 89) for n in range(40))))[0] == 10  # 110 were used
        with pytest.raises(RequestError, match="may need 1001 tokens") as error:
            await counts.reserve(who, "v", 1001)
        assert error.value.status == 400
        await counts.close()

    asyncio.run(run())


def test_a_minute_slides_and_a_day_ends_at_midnight():
    async def run():
        now = [86_400.0 * 9 - 30]
        counts = InMemory(lambda: now[0])
        who = caller(requests_per_minute=2, tokens_per_minute=100, tokens_per_day=150)
        await counts.enter(who, "a")
        await counts.reserve(who, "a", 100)
        now[0] += 20
        await counts.enter(who, "b")
        with pytest.raises(RequestError) as error:
            await counts.enter(who, "c")
        assert error.value.headers["retry-after"] == "40"
        with pytest.raises(RequestError, match="100 tokens a minute") as error:
            await counts.reserve(who, "b", 1)
        assert error.value.headers["retry-after"] == "40"
        now[0] += 9
        await counts.leave(who, "a", 60)
        with pytest.raises(RequestError, match="150 tokens a day") as error:
            await counts.reserve(caller(tokens_per_day=150), "b", 91)
        assert error.value.headers["retry-after"] == "1" and error.value.body["error"]["code"] == "insufficient_quota"
        await counts.reserve(who, "b", 40)
        now[0] += 2  # midnight
        await counts.leave(who, "b", 40)
        await counts.reserve(caller(tokens_per_day=150), "d", 150)
        now[0] += 60
        await counts.enter(who, "e")
        await counts.enter(who, "f")
        assert len(counts._books) == 1

    asyncio.run(run())


def test_callers_without_a_count_are_forgotten(monkeypatch):
    monkeypatch.setattr("src.serve.access.memory_limits.IDLE", 3)

    async def run():
        now = [0.0]
        counts = InMemory(lambda: now[0])
        for n in range(3):
            await counts.enter(caller(str(n), requests_per_minute=1), "t")
            await counts.leave(caller(str(n)), "t", 0)
        now[0] = 100.0
        await counts.enter(caller("new"), "t")
        assert list(counts._books) == ["new"]

    asyncio.run(run())


@pytest.mark.parametrize("when_down", ["refuse", "allow"])
def test_without_redis_all_or_none_pass_and_the_log_says_so_once(when_down, caplog):
    pytest.importorskip("redis", reason="needs the extra redis")
    from src.serve.access.redis_limits import InRedis

    async def run():
        counts = InRedis(RedisLimits(when_down=when_down, timeout=0.2), "redis://:canary-password@127.0.0.1:1/0")
        through, refused = await passed(*(counts.enter(caller(requests_per_minute=1), f"t{n}") for n in range(5)))
        await counts.leave(caller(), "t0", 5)
        if when_down == "allow":
            assert await counts.standing(caller()) == {}
        await counts.close()
        assert through == (5 if when_down == "allow" else 0) and all(each.status == 503 for each in refused)

    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if "Redis is down (" in record.getMessage()]
    assert len(told) == 1 and ("uncounted" in told[0]) == (when_down == "allow") and "canary" not in caplog.text


def test_redis_counts_again_once_it_is_back(redis_port, caplog):
    from src.serve.access.redis_limits import InRedis

    async def run():
        counts = InRedis(RedisLimits(prefix=f"back{time.time_ns()}", when_down="allow", timeout=5), f"redis://127.0.0.1:{redis_port}/0")
        counts._down = True
        await counts.enter(caller(requests_per_minute=1), "a")
        with pytest.raises(RequestError, match="1 requests a minute"):
            await counts.enter(caller(requests_per_minute=1), "b")
        await counts.close()

    asyncio.run(run())
    assert "Redis is back" in caplog.text


def test_redis_says_when_there_is_room_for_tokens(redis_port):
    from src.serve.access.redis_limits import InRedis

    async def run():
        counts = InRedis(RedisLimits(prefix=f"room{time.time_ns()}", timeout=5), f"redis://127.0.0.1:{redis_port}/0")
        who = caller(tokens_per_minute=100)
        await counts.reserve(who, "a", 60)
        with pytest.raises(RequestError) as error:
            await counts.reserve(who, "b", 41)
        assert 58 <= int(error.value.headers["retry-after"]) <= 60
        await counts.close()

    asyncio.run(run())


def ask_many(address, key, body, many):
    async def run():
        headers = {"authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one():
                async with session.post(f"{address}/v1/chat/completions", json=body, headers=headers) as response:
                    return response.status, dict(response.headers), await response.json()

            return await asyncio.gather(*(one() for _ in range(many)))

    return asyncio.run(run())


def test_over_http_exactly_the_limit_reaches_the_engine(web, guarded, scripted):
    access = guarded.access(roles={"user": {"requests_per_minute": 9}})
    key = guarded.key()
    with guarded.running(web, scripted, access) as address:
        answers = ask_many(address, key, web.chat(), 50)
        assert sorted(status for status, _, _ in answers) == [200] * 9 + [429] * 41 and scripted.asked == 9
        _, headers, body = next(each for each in answers if each[0] == 429)
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert set(body["error"]) == {"message", "type", "param", "code"} and body["error"]["code"] == "rate_limit_exceeded"


def test_tokens_are_counted_as_the_engine_tells_them(web, guarded, scripted):
    aside = len(json.dumps(web.chat(stream=False))) + TEMPLATE + 50
    access = guarded.access(roles={"user": {"tokens_per_day": aside + 9 * 11}})
    key = guarded.key()
    headers = {"authorization": f"Bearer {key}"}
    with guarded.running(web, scripted, access, longest=50, system=None) as address:
        for stream in (False, True) * 5:  # each puts over 300 aside, and uses 11
            assert web.ask(address, web.chat(stream=stream), **headers)[0] == 200
        status, _, body = web.ask(address, web.chat(stream=False), **headers)
        assert status == 429 and body["error"]["code"] == "insufficient_quota"
        assert scripted.asked == 10


def test_a_stream_tells_its_usage_to_those_alone_who_ask(web, guarded, scripted):
    key = guarded.key()
    headers = {"authorization": f"Bearer {key}"}
    with guarded.running(web, scripted, guarded.access()) as address:
        silent = web.events(web.ask(address, web.chat(stream=True), **headers)[2])
        asked = web.events(web.ask(address, web.chat(stream=True, stream_options={"include_usage": True}), **headers)[2])
        assert "".join(each["choices"][0]["delta"]["content"] for each in silent) == "the lamp is lit "
        assert not any(each.get("usage") for each in silent) and asked[-1]["usage"]["total_tokens"] == 11
        assert len(asked) == len(silent) + 1
