"""Asks Bedrock: a thread for each call, for boto3 knows no event loop."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import boto3
from botocore.config import Config as Settings
from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, ReadTimeoutError
from urllib3.exceptions import HTTPError

from src.core.errors import MlxError
from src.core.secrets import redact
from src.llm.patience import retry_after
from src.serve.engines.bedrock import BedrockEngine
from src.serve.engines.bedrock_wire import Deltas, converse_request, whole
from src.serve.engines.breaker import Breaker
from src.serve.reply import SSE, Reply, Shape
from src.serve.request import CHAT, Call, RequestError, UnavailableError

T = TypeVar("T")
_LATER = {
    "ThrottlingException": 429,
    "ServiceQuotaExceededException": 429,
    "ServiceUnavailableException": 503,
    "ModelNotReadyException": 503,
    "ModelTimeoutException": 504,
    "InternalServerException": 502,
    "ModelStreamErrorException": 502,
    "ModelErrorException": 502,
}
_OURS = {
    "AccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "ResourceNotFoundException",
}
_PAUSE = 0.2  # seconds before a second try
_SOON = 5  # seconds after which a client may come again where AWS does not say when
_INSIDE = re.compile(r"\barn:aws[\w-]*:[^\s,;'\"]+|\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b|\b\d{12}\b")
"""Names of resources, ids of keys, numbers of accounts: whose they are concerns no client."""


class BedrockConverse:
    """One model on Bedrock."""

    paths = frozenset((CHAT,))

    def __init__(self, part: BedrockEngine, *, name: str, longest: int | None) -> None:
        """Make ready; nothing is sent yet.

        Args:
            part: The settings.
            name: What clients call the model.
            longest: Tokens that an answer may have.

        Raises:
            MlxError: Where nothing names a region.
        """
        self.part, self.name, self.longest = part, name, longest
        self.inflight = 0
        self.breaker = Breaker(part.failures, part.rest)
        self._stopped = False
        settings = Settings(
            retries={"total_max_attempts": 1},  # when to try again is decided here
            connect_timeout=part.connect_timeout,
            read_timeout=part.first_byte_timeout,
            max_pool_connections=part.max_inflight,
        )
        try:
            self.sdk: Any = boto3.Session(profile_name=part.profile, region_name=part.region).client("bedrock-runtime", config=settings)
        except NoRegionError:
            raise MlxError(f"models.{name}: no region is set", f"set models.{name}.region, or AWS_REGION in .env") from None
        except BotoCoreError as error:
            raise MlxError(f"models.{name}: {error}", "mend `profile`, or ~/.aws/config") from None
        self._pool = ThreadPoolExecutor(part.max_inflight, thread_name_prefix="bedrock")

    @property
    def state(self) -> str:
        """`ready`, `resting` or `stopped`."""
        return "stopped" if self._stopped else "resting" if self.breaker.waits else "ready"

    async def run(self) -> None:
        """Nothing has to be loaded."""

    async def stop(self) -> None:
        """End; threads end with the event that they wait for."""
        self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.sdk.close()

    async def ask(self, call: Call) -> Reply:
        """Pass a call on, again where that may help and nothing has come yet.

        Raises:
            UnavailableError: Where Bedrock is not there, busy, or wants another key.
            RequestError: Where it has something against the request.
        """
        if self.inflight >= self.part.max_inflight:
            raise self._absent("has too many requests under way", 503, "overloaded")
        body = converse_request(call.body, model=self.part.model, longest=self.longest)
        attempt = 0
        while True:
            if self.breaker.ask():
                raise self._absent("failed too often and is left alone for a while", 503, "engine_unavailable")
            try:
                reply = await self._try(call, body)
            except UnavailableError as error:
                error.tries = attempt + 1
                if attempt >= self.part.retries or error.after:
                    raise
            else:
                reply.tries = attempt + 1
                self.breaker.succeeded()
                return reply
            attempt += 1
            await asyncio.sleep(_PAUSE)

    async def _try(self, call: Call, body: dict[str, Any]) -> Reply:
        shape = Shape(self.name)
        self.inflight += 1
        kept = False
        try:
            if not call.stream:
                found = await self._do(lambda: self.sdk.converse(**body))
                return Reply.of(whole(found, shape))
            events = (await self._do(lambda: self.sdk.converse_stream(**body)))["stream"]
            told = bool((call.body.get("stream_options") or {}).get("include_usage"))
            stream = Events(events, Deltas(shape, with_usage=told), self._do, self._left)
            await stream.begin()
            kept = True
            return Reply(200, SSE, stream)
        finally:
            if not kept:
                self._left()

    async def _do(self, work: Callable[[], T]) -> T:
        """Do something in a thread; AWS's errors become ours."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except ClientError as error:
            raise self._refusal(error) from None
        except NoCredentialsError:
            raise self._failed(
                "has no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env", 502, "upstream_error"
            ) from None
        except ReadTimeoutError:
            raise self._failed("did not answer in time", 504, "upstream_timeout") from None
        except (BotoCoreError, HTTPError, ParserError, OSError):  # a stream's own faults botocore passes on as they come
            raise self._failed("cannot be reached", 503, "engine_unavailable") from None

    def _refusal(self, error: ClientError) -> RequestError:
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        kinds = {each.lower(): status for each, status in _LATER.items()}  # events of a stream begin with a small letter
        meta = error.response.get("ResponseMetadata", {})
        said = int(meta.get("HTTPStatusCode") or 400)
        if status := kinds.get(code.lower()) or (429 if said == 429 else 502 if said >= 500 else None):
            after = retry_after(meta.get("HTTPHeaders", {}))
            return self._failed(f"answered {code}", status, "upstream_busy" if status == 429 else "upstream_error", after=after)
        if code in _OURS or said in (401, 403, 404):
            return self._failed(f"answered {code}: its model, region or key is wrong", 502, "upstream_error")
        return RequestError(400, f"{self.name}: {_INSIDE.sub('…', redact(str(told.get('Message', code))))[:300]}")

    def _failed(self, words: str, status: int, code: str, *, after: float | None = None) -> UnavailableError:
        self.breaker.failed(after)
        return self._absent(words, status, code, after=after)

    def _absent(self, words: str, status: int, code: str, *, after: float | None = None) -> UnavailableError:
        seconds = after or (_SOON if status in (429, 503) else 0)
        headers = {"retry-after": str(max(1, round(seconds)))} if seconds else {}
        error = UnavailableError(status, f"{self.name} {words}; try again later", kind="server_error", code=code, headers=headers)
        error.after = after
        return error

    def _left(self) -> None:
        self.inflight -= 1


class Events:
    """The events of a streamed answer as OpenAI's."""

    def __init__(self, events: Any, deltas: Deltas, do: Callable[[Callable[[], Any]], Any], left: Callable[[], None]) -> None:
        """Prepare; `begin` waits for the first event.

        Args:
            events: botocore's stream.
            deltas: Makes OpenAI's events of them.
            do: Does something in a thread.
            left: Called once, whichever way it ends.
        """
        self._events, self._deltas, self._do, self._left = events, deltas, do, left
        self._iterator = iter(events)
        self._first = b""
        self._ended = False

    async def begin(self) -> None:
        """Wait for the first event; raises what an answer that came whole would."""
        try:
            self._first = await self._next()
        except BaseException:
            self._close()
            raise

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> bytes:
        """The next events."""
        if self._ended:
            raise StopAsyncIteration
        if self._first:
            data, self._first = self._first, b""
            return data
        try:
            data = await self._next()
        except UnavailableError as error:
            self._end()
            raise RequestError(error.status, f"the answer broke off: {error}", kind="server_error", code="upstream_broke_off") from None
        if data:
            return data
        self._end()
        if not self._deltas.ended:
            raise RequestError(502, "the answer ended before its end", kind="server_error", code="upstream_broke_off")
        return self._deltas.end()

    async def aclose(self) -> None:
        """Leave it."""
        self._end()

    async def _next(self) -> bytes:
        """The next events; nothing once there are no more."""
        made = b""
        while not made:
            event = await self._do(lambda: next(self._iterator, None))
            if event is None:
                return b""
            made = self._deltas.feed(event)
        return made

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._close()
            self._left()

    def _close(self) -> None:
        with suppress(Exception):  # botocore's stream may be at a read in its thread
            self._events.close()
