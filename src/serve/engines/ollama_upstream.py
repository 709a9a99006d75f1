"""Asks Ollama: calls translated there and back, models loaded and unloaded, and what it did to a prompt looked at."""

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.serve.engines.client import Response, UnreachableError
from src.serve.engines.ollama_lines import Lines
from src.serve.engines.ollama_wire import Events, chat_request, embed_request, embedded
from src.serve.engines.ollama_wire import whole as whole_answer
from src.serve.engines.upstream import BUSY, Upstream
from src.serve.engines.whole import whole
from src.serve.reply import SSE, Reply, Shape
from src.serve.request import CHAT, EMBEDDINGS, Call, RequestError, UnavailableError, spelt
from src.serve.spent import spent

if TYPE_CHECKING:
    from src.serve.engines.ollama import OllamaEngine

LOG = logging.getLogger("mlx.serve")
_GONE = 60.0  # seconds that Ollama may take to give memory free
_LOADED = 24 * 3600.0  # seconds that Ollama may take to load: longer than its own deadline, whatever that is
_LOOK = 5.0  # seconds that a look at what is loaded may take
_EXACT, _ESTIMATED = 0.9, 0.55  # of the tokens that were sent, the share that Ollama has to have read
_SAFE = 3  # a prompt of less than this part of the context is not cut, however wrong its count is


class OllamaUpstream(Upstream):
    """One model of an Ollama server."""

    paths = frozenset((CHAT, EMBEDDINGS))
    probed = "/api/version"
    part: "OllamaEngine"

    def __init__(self, part: "OllamaEngine", *, name: str, longest: int | None = None) -> None:
        """Prepare; nothing is connected yet.

        Args:
            part: The settings.
            name: What clients call the model.
            longest: Tokens that an answer may have; unbounded if None.
        """
        super().__init__(part, url=part.base_url.removesuffix("/v1"), name=name, longest=longest, counts=False)
        self.on_demand = False
        """Whether `load` and `unload` decide when it is loaded, and no time of Ollama's."""
        self._context: dict[str, Any] = {"options": {"num_ctx": part.context}} if part.context else {}

    async def run(self) -> None:
        """Prepare for calls; a model that is not there is told at once."""
        await super().run()
        try:
            await self._told("/api/show", {"model": self.part.model}, _LOOK)
        except RequestError as error:
            LOG.warning("%s", error)
        except MlxError as error:
            LOG.warning("%s; %s", error, error.hint)

    async def load(self) -> None:
        """Have the model loaded, with its whole context.

        Raises:
            MlxError: Where Ollama is not there, or loads it with less.
            RequestError: Where it does not have it.
        """
        await self._told("/api/generate", {"model": self.part.model, **self._keep, **self._context}, None)
        shown = await self._shown() or {}
        context = shown.get("context_length")
        if context and self.part.context and context < self.part.context:
            raise MlxError(
                f"Ollama loads {self.part.model} with {context:,} tokens of context, not {self.part.context:,}",
                f"set context: {context} for {self.name}",
            )
        self._compare(shown)

    async def unload(self) -> None:
        """Have its memory freed; returns once Ollama no longer shows it.

        Raises:
            MlxError: Where it goes on showing it.
        """
        try:
            await self._told("/api/generate", {"model": self.part.model, "keep_alive": 0}, _GONE)
            for _ in range(int(_GONE / 0.1)):
                if await self._shown() is None:
                    break
                await asyncio.sleep(0.1)
            else:
                raise MlxError(f"Ollama keeps {self.part.model} though it was asked to unload it")
        except RequestError:
            if await self._shown() is not None:
                raise
        except ConnectionError:
            LOG.warning("Ollama is not there to unload %s: its memory is free", self.part.model)

    async def look(self) -> bool:
        """Whether Ollama has it loaded now; never raises."""
        try:
            return await self._shown() is not None
        except (MlxError, RequestError):
            return False

    @property
    def _keep(self) -> dict[str, Any]:
        """What to say about how long Ollama keeps it."""
        if self.part.keep_alive is not None:
            return {"keep_alive": self.part.keep_alive}
        return {"keep_alive": -1} if self.on_demand else {}

    def _path(self, call: Call) -> str:
        return self._root + ("/api/chat" if call.path == CHAT else "/api/embed")

    def _spelled(self, call: Call) -> bytes:
        if call.path == EMBEDDINGS:
            return spelt({**embed_request(call.body, model=self.part.model), **self._keep})
        return spelt({**chat_request(call.body, model=self.part.model, num_ctx=self.part.context, longest=self._longest), **self._keep})

    async def _reply(self, call: Call, response: Response) -> Reply:
        if response.status != 200:
            raise await self._failure(response)
        shape = Shape(self.name)
        if call.stream and call.path == CHAT:
            options = call.body.get("stream_options") or {}
            events = Events(shape, with_usage=bool(options.get("include_usage")))
            lines = Lines(response, events, self.part.idle_timeout, lambda count: self._read_whole(call, count), self._left)
            try:
                await lines.begin()
            except ValueError as error:
                raise self._odd(f"failed: {error}") from None
            return Reply(200, SSE, lines)
        found = json.loads(await whole(response))
        if not isinstance(found, dict) or "error" in found:
            raise self._odd("answered an error as if it were none")
        if call.path == EMBEDDINGS:
            return Reply.of(embedded(found, name=self.name, packed=call.body.get("encoding_format") == "base64"))
        if cut := self._read_whole(call, int(found.get("prompt_eval_count") or 0)):
            raise cut
        return Reply.of(whole_answer(found, shape))

    def _pause(self, error: UnavailableError, attempt: int) -> float:
        final = error.body["error"]["code"] in ("context_length_exceeded", "prompt_cut", "out_of_memory")
        return float("inf") if final else super()._pause(error, attempt)

    def _read_whole(self, call: Call, count: int) -> UnavailableError | None:
        """The error where Ollama read far fewer tokens than it was sent."""
        sent, context = call.tokens or 0, self.part.context or 0
        if not self.part.check_prompt or sent * _SAFE < context or count >= sent * (_EXACT if call.exact else _ESTIMATED):
            return None
        LOG.warning("Ollama read %d tokens of about %d that %s was sent", count, sent, self.name)
        words = f"{self.name} was sent about {sent:,} tokens and read {count:,}: Ollama cut the prompt"
        return UnavailableError(502, words, kind="server_error", code="prompt_cut")

    async def _failure(self, response: Response) -> RequestError:
        """What Ollama's refusal means to a client."""
        status, said = response.status, _error(await whole(response))
        if status == 404 and "not found" in said:
            words = f"Ollama has no model {self.part.model!r}; on its machine: ollama pull {self.part.model}"
            return RequestError(404, words, code="model_not_pulled", param="model")
        if "context size" in said or "context length" in said:
            return UnavailableError(400, f"{self.name}: {said}", code="context_length_exceeded", param="messages")
        if status == 501:
            return RequestError(400, f"{self.name} makes no embeddings", code="path_not_supported", param="model")
        if status >= 500 and spent(said):
            LOG.warning("%s: Ollama says: %s", self.name, said)
            self.breaker.failed()
            return self._absent("runs out of memory", 503, "out_of_memory", after=30)
        if status in BUSY:
            return self._busy(status, response.headers)
        if status in (400, 413, 422):
            return RequestError(400, f"{self.name}: {said or 'Ollama refuses the request'}")
        return self._odd(f"answered {status}")

    def _compare(self, shown: dict[str, Any]) -> None:
        """Say where a model takes more than its settings claim: the budgets count by these."""
        on_gpu, whole_size = shown.get("size_vram", 0) / 1e9, shown.get("size", 0) / 1e9
        for words, found, declared in (("vram_gb", on_gpu, self.part.vram_gb), ("ram_gb", whole_size - on_gpu, self.part.ram_gb)):
            if found > declared * 1.05 + 0.1:
                LOG.warning("%s: Ollama takes %.1f GB for it, its %s says %.1f", self.name, found, words, declared)

    async def _shown(self) -> dict[str, Any] | None:
        """What Ollama shows of the model while it is loaded."""
        models = (await self._told("/api/ps", None, _LOOK)).get("models") or []
        wanted = self.part.model if ":" in self.part.model else f"{self.part.model}:latest"
        return next((each for each in models if each.get("model", each.get("name")) in (wanted, self.part.model)), None)

    async def _told(self, path: str, body: Any, seconds: float | None) -> dict[str, Any]:
        """Ask for something that is no answer to a client.

        Raises:
            MlxError: Where Ollama is not there or speaks oddly (a refused connection: ConnectionError).
            RequestError: Where it refuses.
        """
        try:
            async with asyncio.timeout(seconds):
                try:
                    found = await self._once(path, body, seconds)
                except ConnectionResetError:  # kept open by its own word, and ended all the same: all of this may be asked twice
                    found = await self._once(path, body, seconds)
        except UnreachableError:
            raise AbsentError(f"no Ollama at {self.url}", "start it with `ollama serve`, or set OLLAMA_BASE_URL") from None
        except (TimeoutError, OSError, ValueError):
            raise MlxError(f"Ollama at {self.url} does not answer {path}", "look at its log") from None
        return found if isinstance(found, dict) else {}

    async def _once(self, path: str, body: dict[str, Any] | None, seconds: float | None) -> Any:
        if self._client is None or self._client.closed:
            raise MlxError(f"{self.name} is {self.state}")
        method, data = ("GET", b"") if body is None else ("POST", spelt(body))
        response = await self._client.send(method, self._root + path, data, patience=seconds or _LOADED)
        try:
            if response.status != 200:
                raise await self._failure(response)
            lines = (await whole(response)).split(b"\n")  # to load a model is an answer too, and may come in pieces
            return json.loads(next((line for line in reversed(lines) if line.strip()), b""))
        finally:
            response.leave()


class AbsentError(MlxError, ConnectionError):
    """Nothing listens where Ollama should."""


def _error(data: bytes) -> str:
    """The words of a refusal; those of the runner come as JSON inside of them."""
    text = data.decode("utf-8", "replace")
    for _ in range(3):
        try:
            found = json.loads(text)
        except ValueError:
            break
        while isinstance(found, dict):
            found = found.get("error", found.get("message", ""))
        text = str(found)
    return " ".join(text.split())[:300]
