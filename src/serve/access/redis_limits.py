"""Limits counted in Redis, for several servers at once: each step is one Lua script, which Redis runs undisturbed, by its own clock."""

import logging
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from src.core.errors import MlxError
from src.serve.access.caller import Caller
from src.serve.access.limits import COUNTED, Standing, fits, limited
from src.serve.access.settings import RedisLimits
from src.serve.request import RequestError

LOG = logging.getLogger("mlx.serve")
NONE = -1  # stands for no limit

# a caller has: :in places held (until when), :r requests (when), :t tokens put aside (when), :c their counts, :d the day's sum
ENTER = """
local time = redis.call('TIME'); local now = time[1] + time[2] / 1000000
local inside, requests, ticket = KEYS[1], KEYS[2], ARGV[1]
redis.call('ZREMRANGEBYSCORE', inside, '-inf', now)
redis.call('ZREMRANGEBYSCORE', requests, '-inf', now - 60)
local most, rate, lease = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if most >= 0 and redis.call('ZCARD', inside) >= most then return {'concurrent', '1'} end
if rate >= 0 then
  if redis.call('ZCARD', requests) >= rate then
    return {'requests', tostring(redis.call('ZRANGE', requests, -rate, -rate, 'WITHSCORES')[2] + 60 - now)}
  end
  redis.call('ZADD', requests, now, ticket); redis.call('EXPIRE', requests, 61)
end
redis.call('ZADD', inside, now + lease, ticket); redis.call('EXPIRE', inside, lease + 1)
return {'ok', '0'}
"""
RESERVE = """
local time = redis.call('TIME'); local now = time[1] + time[2] / 1000000
local tokens, counts, today, ticket = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local asked, rate, budget = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', tokens, '-inf', now - 60)) do
  redis.call('HINCRBY', counts, 'sum', -(redis.call('HGET', counts, old) or 0))
  redis.call('HDEL', counts, old); redis.call('ZREM', tokens, old)
end
local sum = tonumber(redis.call('HGET', counts, 'sum') or 0)
if rate >= 0 and sum + asked > rate then
  local wanted, when = sum + asked - rate, now
  for _, each in ipairs(redis.call('ZRANGE', tokens, 0, -1)) do
    when = tonumber(redis.call('ZSCORE', tokens, each))
    wanted = wanted - (redis.call('HGET', counts, each) or 0)
    if wanted <= 0 then break end
  end
  return {'tokens', tostring(when + 60 - now)}
end
local day = tostring(math.floor(now / 86400))
if redis.call('HGET', today, 'day') ~= day then redis.call('DEL', today); redis.call('HSET', today, 'day', day, 'spent', 0) end
if budget >= 0 and tonumber(redis.call('HGET', today, 'spent')) + asked > budget then return {'day', tostring(86400 - now % 86400)} end
redis.call('ZADD', tokens, now, ticket); redis.call('HSET', counts, ticket, asked); redis.call('HINCRBY', counts, 'sum', asked)
redis.call('HINCRBY', today, 'spent', asked); redis.call('HSET', today, 't:' .. ticket, asked)
redis.call('EXPIRE', tokens, 3600); redis.call('EXPIRE', counts, 3600); redis.call('EXPIRE', today, 90000)
return {'ok', '0'}
"""
LEAVE = """
local tokens, counts, today, inside, ticket, used = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], tonumber(ARGV[2])
redis.call('ZREM', inside, ticket)
local minute = redis.call('HGET', counts, ticket)
if minute then redis.call('HSET', counts, ticket, used); redis.call('HINCRBY', counts, 'sum', used - minute) end
local aside = redis.call('HGET', today, 't:' .. ticket)
if aside then redis.call('HINCRBY', today, 'spent', used - aside); redis.call('HDEL', today, 't:' .. ticket) end
return {'ok', '0'}
"""
STANDING = """
local time = redis.call('TIME'); local now = time[1] + time[2] / 1000000
local inside, requests, tokens, counts, today = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local minute = 0
for _, each in ipairs(redis.call('ZRANGEBYSCORE', tokens, now - 60, '+inf')) do
  minute = minute + (redis.call('HGET', counts, each) or 0)
end
local day = tostring(math.floor(now / 86400))
local spent = 0
if redis.call('HGET', today, 'day') == day then spent = redis.call('HGET', today, 'spent') end
return {tostring(redis.call('ZCOUNT', requests, now - 60, '+inf')), tostring(minute), tostring(spent),
        tostring(redis.call('ZCOUNT', inside, now, '+inf'))}
"""


class InRedis:
    """Exact counts over all servers that share a Redis."""

    at_once = False

    def __init__(self, settings: RedisLimits, address: str) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            MlxError: Where the address is none.
        """
        try:
            self._redis = Redis.from_url(
                address, socket_timeout=settings.timeout, socket_connect_timeout=settings.timeout, decode_responses=True
            )
        except ValueError:
            raise MlxError(f"{settings.url_env} is no address of a Redis", "as in redis://:password@host:6379/0") from None
        self._settings = settings
        self._down = False

    async def enter(self, caller: Caller, ticket: str) -> None:
        """Count a request."""
        role = caller.role
        keys = self._keys(caller, "in", "r")
        limits = {"concurrent": role.concurrent, "requests": role.requests_per_minute}
        answer = await self._do(ENTER, keys, ticket, _or_none(role.concurrent), _or_none(role.requests_per_minute), self._settings.lease)
        _refuse(answer, limits)

    async def reserve(self, caller: Caller, ticket: str, tokens: int) -> None:
        """Put tokens aside."""
        fits(caller, tokens)
        role = caller.role
        keys = self._keys(caller, "t", "c", "d")
        limits = {"tokens": role.tokens_per_minute, "day": role.tokens_per_day}
        answer = await self._do(RESERVE, keys, ticket, tokens, _or_none(role.tokens_per_minute), _or_none(role.tokens_per_day))
        _refuse(answer, limits)

    async def leave(self, caller: Caller, ticket: str, used: int | None) -> None:
        """Count what was used in place of what was put aside; a Redis that is gone frees the place by itself, later."""
        try:
            await self._do(LEAVE, self._keys(caller, "t", "c", "d", "in"), ticket, used or 0)
        except RequestError:
            LOG.warning("Redis is down: what a request put aside stays put aside")

    async def standing(self, caller: Caller) -> Standing:
        """What a caller has used; nothing of it is known while Redis is down."""
        answer = await self._do(STANDING, self._keys(caller, "in", "r", "t", "c", "d"))
        return dict(zip(COUNTED, map(int, answer), strict=True)) if len(answer) == len(COUNTED) else {}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _keys(self, caller: Caller, *names: str) -> list[str]:
        return [f"{self._settings.prefix}:{{{caller.id}}}:{name}" for name in names]

    async def _do(self, script: str, keys: list[str], *arguments: Any) -> list[str]:
        try:
            answer = await cast("Awaitable[Any]", self._redis.eval(script, len(keys), *keys, *map(str, arguments)))
        except (RedisError, OSError, TimeoutError) as error:
            return self._without(error)
        if self._down:
            LOG.warning("Redis is back: requests are counted again")
        self._down = False
        return [str(each) for each in answer]

    def _without(self, error: Exception) -> list[str]:
        """What is done while Redis is down; the log says so once."""
        allow = self._settings.when_down == "allow"
        if not self._down:  # the kind alone: a message could hold the address, and that a password
            LOG.error("Redis is down (%s): %s", type(error).__name__, "requests pass uncounted" if allow else "all requests are refused")
        self._down = True
        if allow:
            return ["ok", "0"]
        raise RequestError(
            503,
            "requests cannot be counted now; try again soon",
            kind="server_error",
            code="limits_unavailable",
            headers={"retry-after": "5"},
        )


def _refuse(answer: list[str], limits: dict[str, int | None]) -> None:
    what, wait = answer
    if what != "ok":
        raise limited(what, limits[what] or 0, float(wait))


def _or_none(limit: int | None) -> int:
    return NONE if limit is None else limit
