"""Answers that are the same each time, kept for who asked: at temperature 0, and vectors of texts."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from pydantic import Field

from src.core.config import Config
from src.serve.reply import Body, Reply
from src.serve.request import EMBEDDINGS, Call

HEADER = "x-mlx-cache"
LARGEST = 0.1  # of the whole cache, that one answer may take


class Cache(Config):
    """Keep answers at temperature 0, and embeddings, in memory: a question asked again is answered at once, to the same key alone."""

    mb: float = Field(default=64, gt=0)
    """Memory for answers, in MB, in each worker; those not asked for longest go first."""
    seconds: float = Field(default=3600, gt=0)
    """How long an answer is good."""

    def open(self) -> "Answers":
        """An empty cache."""
        return Answers(int(self.mb * 1e6), self.seconds)


@dataclass(slots=True)
class _Kept:
    headers: Mapping[str, str]
    data: bytes
    until: float


class Answers:
    """Keeps whole answers; a client that sends `cache-control: no-cache` gets a new one."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`most` is in bytes."""
        self.hits = self.misses = self.size = 0
        self._most, self._seconds, self._clock = most, seconds, clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._turn = b""

    def __len__(self) -> int:
        return len(self._kept)

    def key(self, call: Call, model: str) -> bytes | None:
        """What the answer is kept under, or None where it may be another each time."""
        if call.path != EMBEDDINGS and call.body.get("temperature") != 0:
            return None
        mark = sha256(self._turn)
        for part in ((call.who or "").encode(), call.path.encode(), model.encode(), call.raw):
            mark.update(len(part).to_bytes(8, "big") + part)
        return mark.digest()

    def forget(self) -> None:
        """Forget all answers, those under way too: a name means another model now."""
        self._turn = self._turn + b"."
        self._kept.clear()
        self.size = 0

    def find(self, key: bytes, call: Call) -> Reply | None:
        """The answer that is kept, if it still is good."""
        kept = self._kept.get(key)
        if kept is None or kept.until < self._clock() or _unwanted(call):
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return Reply(200, {**kept.headers, HEADER: "hit"}, kept.data, cached=True)

    def keep(self, key: bytes, reply: Reply) -> None:
        """Keep an answer once it is whole; of a stream that breaks off nothing is kept."""
        if reply.status != 200:
            return
        headers = dict(reply.headers)
        reply.headers = {**headers, HEADER: "miss"}
        if isinstance(reply.body, bytes):
            self._put(key, headers, reply.body)
        else:
            reply.body = _Recording(reply.body, lambda data: self._put(key, headers, data), int(self._most * LARGEST))

    def _put(self, key: bytes, headers: Mapping[str, str], data: bytes) -> None:
        if len(data) > self._most * LARGEST:
            return
        if before := self._kept.pop(key, None):
            self.size -= len(before.data)
        self._kept[key] = _Kept(headers, data, self._clock() + self._seconds)
        self.size += len(data)
        while self.size > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.size -= len(oldest.data)


class _Recording:
    """A body that is kept as it passes."""

    def __init__(self, body: Body, whole: Callable[[bytes], None], most: int) -> None:
        self._body, self._whole, self._most = body, whole, most
        self._data = bytearray()

    def __aiter__(self) -> "_Recording":
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._body.__anext__()
        except StopAsyncIteration:
            if len(self._data) <= self._most:
                self._whole(bytes(self._data))
            raise
        if len(self._data) <= self._most:
            self._data += data
        return data

    async def aclose(self) -> None:
        await self._body.aclose()


def _unwanted(call: Call) -> bool:
    return any(key == b"cache-control" and (b"no-cache" in value or b"no-store" in value) for key, value in call.headers)
