"""A server with OpenAI's API as an engine: passes calls on, their bytes untouched unless a field has to change."""

import asyncio
import random
import re
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from src.llm.patience import retry_after
from src.serve.engines.breaker import LONGEST, Breaker
from src.serve.engines.client import Client, Response, client
from src.serve.engines.counting import Counting
from src.serve.engines.part import UpstreamPart
from src.serve.engines.stream import Stream
from src.serve.engines.whole import whole
from src.serve.reply import SSE, Reply
from src.serve.request import CHAT, COMPLETIONS, EMBEDDINGS, Call, UnavailableError, spelt

BUSY = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
"""Statuses after which another try, or another engine, may answer."""
AWAY = frozenset((502, 503, 504))
"""Statuses by which a proxy, or a server that is still loading, says that there is no engine."""
NEAR = 2.0  # seconds that a try waits at most before the next
COUNTED = 5.0
"""Seconds that the server may take to count a prompt's tokens."""
PROBE = 5.0  # seconds that a probe may take
_ERROR = re.compile(rb'\s*(?:event: ?error|(?:data: ?)?\{\s*"error"\s*:)')
HEADERS = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "mlx"}


class Upstream:
    """Passes calls on to a server."""

    paths = frozenset((CHAT, COMPLETIONS, EMBEDDINGS))
    probed = "/models"
    """What is asked for to find out whether the server is there: it costs nothing anywhere."""

    def __init__(
        self,
        part: UpstreamPart,
        *,
        url: str,
        name: str,
        model: str | None = None,
        key: str | None = None,
        longest: int | None = None,
        counts: bool = True,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            part: Its deadlines and bounds.
            url: Address of the API, up to and with /v1.
            name: What clients call the model.
            model: What the server calls it; the name that a call has stays if None.
            key: Sent as bearer token.
            longest: Tokens that an answer may have, whatever is asked; unbounded if None.
            counts: Whether it may be asked how many tokens a prompt has.
        """
        self.part, self.name, self.url = part, name, url.rstrip("/")
        self.inflight = 0
        self._root = urlsplit(self.url).path
        self.breaker = Breaker(part.failures, part.rest)
        self._model, self._key, self._longest = model, key, longest
        self._headers = HEADERS | ({"authorization": f"Bearer {key}"} if key else {})
        self._chance = random.Random()
        self._client: Client | None = None
        self._counting = Counting(partial(self.post, patience=COUNTED)) if counts else None

    @property
    def state(self) -> str:
        """`loading`, `ready`, `resting` or `stopped`."""
        if self._client is None:
            return "loading"
        if self._client.closed:
            return "stopped"
        return "resting" if self.breaker.waits else "ready"

    async def run(self) -> None:
        """Prepare for calls."""
        self._client = client(
            self.url, headers=self._headers, connect_timeout=self.part.connect_timeout, patience=self.part.first_byte_timeout
        )

    async def stop(self) -> None:
        """End."""
        if self._client:
            await self._client.close()

    async def probe(self) -> str | None:
        """What speaks against the server's being there, or nothing.

        Raises:
            TimeoutError: Where it is silent: busy, stuck, or switched off.
        """
        if self._client is None or self._client.closed:
            return None
        try:
            # where there is no such path, or the key is wrong, there still is a server
            response = await self._client.send("GET", self._root + self.probed, patience=PROBE)
        except TimeoutError:
            raise
        except (OSError, ValueError):
            return "cannot be reached"
        response.leave()  # its answer may be long
        return f"answered {response.status}" if response.status in AWAY else None

    async def ask(self, call: Call) -> Reply:
        """Pass a call on, again where that may help and nothing has come yet.

        Raises:
            UnavailableError: Where the server is not there, busy or broken, or answers what is no answer.
        """
        if self.inflight >= self.part.max_inflight:
            raise self._absent("has too many requests under way", 503, "overloaded", after=1.0)
        raw = self._spelled(call)
        attempt = 0
        while True:
            if waits := self.breaker.ask():
                raise self._absent("failed too often and is left alone for a while", 503, "engine_unavailable", after=waits)
            try:
                reply = await self._try(call, raw)
            except UnavailableError as error:
                pause = self._pause(error, attempt)
                if attempt >= self.part.retries or pause > NEAR:
                    error.tries = attempt + 1
                    raise
            else:
                reply.tries = attempt + 1
                return reply
            attempt += 1
            await asyncio.sleep(pause)

    async def count(self, call: Call) -> int | None:
        """Tokens of a call's prompt as the server counts them; None where it does not, or not now."""
        return await self._counting.count(call, self._model or call.model) if self._counting else None

    async def post(self, path: str, body: Mapping[str, object], *, patience: float) -> tuple[int, bytes]:
        """Ask the server what is not in OpenAI's API, and may be asked twice: `path` begins at its root; status and answer.

        Raises:
            OSError: Where it is not there, or takes longer than `patience` seconds.
        """
        try:
            async with asyncio.timeout(patience):
                try:
                    return await self._posted(path, spelt(body), patience)
                except ConnectionResetError:  # a connection that was kept open, and had ended all the same
                    return await self._posted(path, spelt(body), patience)
        except ValueError as error:
            raise ConnectionError(f"{self.name} does not answer {path}") from error

    async def _posted(self, path: str, data: bytes, patience: float) -> tuple[int, bytes]:
        if self._client is None or self._client.closed:
            raise ConnectionError(f"{self.name} is {self.state}")
        response = await self._client.send("POST", self._root.removesuffix("/v1") + path, data, patience=patience)
        try:
            return response.status, await whole(response)
        finally:
            response.leave()

    def _path(self, call: Call) -> str:
        return self._root + call.path.removeprefix("/v1")

    def _spelled(self, call: Call) -> bytes:
        """The bytes to send: the client's own, unless the name or the longest answer differ."""
        changes: dict[str, object] = {} if self._model in (None, call.model) else {"model": self._model}
        if self._longest and call.path != EMBEDDINGS:
            key = "max_completion_tokens" if call.body.get("max_completion_tokens") else "max_tokens"
            asked = call.body.get(key)
            if asked is None or asked > self._longest:
                changes[key] = self._longest
        return spelt({**call.body, **changes}) if changes else call.raw

    async def _try(self, call: Call, raw: bytes) -> Reply:
        if self._client is None or self._client.closed:
            raise self._absent(f"is {self.state}", 503, "engine_unavailable", after=5)
        self.inflight += 1
        kept = False
        try:
            response = await self._client.send("POST", self._path(call), raw)
            try:
                reply = await self._reply(call, response)
                kept = not isinstance(reply.body, bytes)
            finally:
                if not kept:
                    response.leave()
        except TimeoutError:
            self.breaker.failed()
            raise self._absent("did not answer in time", 504, "upstream_timeout") from None
        except (OSError, ValueError):
            self.breaker.failed()
            raise self._absent("cannot be reached", 503, "engine_unavailable", after=5) from None
        finally:
            if not kept:
                self._left()
        self.breaker.succeeded()
        return reply

    async def _reply(self, call: Call, response: Response) -> Reply:
        status, kind = response.status, response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if status in BUSY:
            raise self._busy(status, response.headers)
        if status >= 300 and (status < 400 or status in (401, 403, 404, 405, 407)):
            # no fault of the client's: its key was good, and the model is one of ours
            raise self._odd(f"answered {status}: its address, key or model is wrong")
        if status >= 400:
            return self._refusal(status, kind, await whole(response))
        if (kind == "text/event-stream") != call.stream:  # who waits for the one cannot read the other
            raise self._odd(
                "answered a stream where none was asked for"
                if kind == "text/event-stream"
                else "answered no stream where one was asked for"
            )
        if call.stream:
            return await self._stream(response)
        data = await whole(response) if kind == "application/json" else b""
        if not data.lstrip().startswith(b"{") or not data.rstrip().endswith(b"}"):
            raise self._odd("answered what is no JSON")
        if _ERROR.match(data):
            raise self._odd("answered an error as if it were none")
        return Reply(200, {"content-type": "application/json", "content-length": str(len(data))}, data)

    async def _stream(self, response: Response) -> Reply:
        first = await response.more()
        if not first or _ERROR.match(first):
            raise self._odd("ended its answer before it began")
        response.patience = self.part.idle_timeout
        return Reply(200, SSE, Stream(response, first, self.name, self._left))

    def _refusal(self, status: int, kind: str, data: bytes) -> Reply:
        """What the server has against the request, in its own words where they have OpenAI's form, and never with our key in them."""
        if kind != "application/json" or not data.lstrip().startswith(b"{"):
            raise self._odd(f"answered {status}, and what is no JSON")
        if self._key:
            data = data.replace(self._key.encode(), b"***")
        return Reply(status, {"content-type": "application/json", "content-length": str(len(data))}, data)

    def _busy(self, status: int, headers: Mapping[str, str]) -> UnavailableError:
        after = retry_after(headers)
        self.breaker.failed(after)
        told = 429 if status == 429 else 503 if status in (503, 529) else 502
        return self._absent(f"answered {status}", told, "upstream_busy" if status == 429 else "upstream_error", after=after)

    def _odd(self, words: str) -> UnavailableError:
        self.breaker.failed()
        return self._absent(words, 502, "upstream_error")

    def _absent(self, words: str, status: int, code: str, *, after: float | None = None) -> UnavailableError:
        headers = {"retry-after": str(max(1, round(min(after, LONGEST))))} if after else {}
        error = UnavailableError(status, f"{self.name} {words}; try again later", kind="server_error", code=code, headers=headers)
        error.after = after
        return error

    def _pause(self, error: UnavailableError, attempt: int) -> float:
        """Seconds to wait before the next try: what the server asks for, else ever longer, and never all at once."""
        if error.body["error"]["code"] == "upstream_busy" and error.after:
            return error.after
        return 0.05 * 3.0**attempt * self._chance.uniform(0.5, 1)

    def _left(self) -> None:
        self.inflight -= 1
