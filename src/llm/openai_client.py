"""Calls over OpenAI's chat API, and what its failures mean to the user."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import openai

from src.core.secrets import redact
from src.llm.client import BackendError, Client, Message, Reply, Usage
from src.llm.patience import retry_after
from src.llm.wire import as_text

_LANE = 8


class OpenAIClient(Client):
    """Talks to one model of one server."""

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        key: str,
        timeout: float,
        max_retries: int,
        trusts_environment: bool,
        hints: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make ready; nothing is sent yet.

        Args:
            base_url: Address of the API.
            model: Name of the model.
            key: Sent as the bearer token.
            timeout: Seconds a call may take.
            max_retries: Further tries of `chat`, with growing pauses or those the server asks for.
            trusts_environment: Whether the proxies that the environment names are used.
            hints: What to do where nobody listens (`start`), the key is refused (`key`), the model is not known (`model`).
            headers: Sent with every call.
        """
        self.model = model
        self.base_url = base_url
        self.hints = hints
        self.limit = f"timeout: {timeout:g} s"
        # the models of OpenAI itself refuse the older name, other servers know no other
        self.longest = "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"
        self.structured = True
        """Whether the server takes a schema, as far as is known."""
        self.trusts_environment = trusts_environment
        self.settings: dict[str, Any] = {"base_url": base_url, "api_key": key, "timeout": timeout, "default_headers": dict(headers or {})}
        client = openai.DefaultHttpxClient(trust_env=trusts_environment)
        self.sdk = openai.OpenAI(**self.settings, max_retries=max_retries, http_client=client)
        self._lanes: list[openai.AsyncOpenAI] = []
        self._under_way: list[int] = []
        """Calls that each lane has."""

    def close(self) -> None:
        """Close the connections."""
        self.sdk.close()

    async def leave(self) -> None:
        """Close the connections of `ask`."""
        for lane in self._lanes:
            await lane.close()
        self._lanes, self._under_way = [], []

    @contextmanager
    def _lane(self) -> Iterator[openai.AsyncOpenAI]:
        """The first lane with room, of the SDK for calls beside each other, which makes each once.

        The SDK's pool looks at all its connections for each call: with 64 of them a call takes twice the processor time it takes with 8.
        """
        number = next((number for number, calls in enumerate(self._under_way) if calls < _LANE), len(self._lanes))
        if number == len(self._lanes):
            client = openai.DefaultAsyncHttpxClient(trust_env=self.trusts_environment)
            self._lanes.append(openai.AsyncOpenAI(**self.settings, max_retries=0, http_client=client))
            self._under_way.append(0)
        self._under_way[number] += 1
        try:
            yield self._lanes[number]
        finally:
            self._under_way[number] -= 1

    def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = 0,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Return the model's answer to a dialogue."""
        create: Any = self.sdk.chat.completions.create
        for form in self._forms(schema):
            with self._explained(form):
                return self._reply(create(**self._body(messages, max_tokens, temperature, seed, form)))
        raise AssertionError  # the last form explains itself

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float | None = 0,
        seed: int | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Reply:
        """Do as `chat`, in one try; `tools` are offered as they are."""
        with self._lane() as lane:
            create: Any = lane.chat.completions.create
            for form in self._forms(schema):
                with self._explained(form):
                    offered = {"tools": list(tools)} if tools else {}
                    return self._reply(await create(**self._body(messages, max_tokens, temperature, seed, form), **offered))
        raise AssertionError

    async def continued(self, prompt: Sequence[int], *, max_tokens: int, extra: Mapping[str, Any]) -> list[int]:
        """Token ids that a vLLM (told `return_token_ids` in `extra`) goes on with after those of the prompt, greedily, in one try."""
        with self._lane() as lane, self._explained(None):
            create: Any = lane.completions.create
            found = await create(model=self.model, prompt=list(prompt), max_tokens=max_tokens, temperature=0, extra_body=dict(extra))
        try:
            return [int(token) for token in found.choices[0].token_ids]
        except (AttributeError, IndexError, TypeError):
            raise BackendError(f"{self.base_url}: the answer has no token ids", "vLLM has them from 0.10.2 on", transient=True) from None

    def _forms(self, schema: Mapping[str, Any] | None) -> list[Mapping[str, Any] | None]:
        """With the schema and, should the server know none, without."""
        return [schema, None] if schema is not None and self.structured else [None]

    def _body(
        self, messages: Sequence[Message], max_tokens: int, temperature: float | None, seed: int | None, form: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        settings: dict[str, Any] = {self.longest: max_tokens, "temperature": temperature, "seed": seed}
        if form is not None:
            held = {"name": "answer", "schema": form, "strict": is_strict(form)}
            settings["response_format"] = {"type": "json_schema", "json_schema": held}
        given = {name: value for name, value in settings.items() if value is not None}
        return {"model": self.model, "messages": list(messages), **given}

    def _reply(self, found: Any) -> Reply:
        """Read a completion. The SDK checks none: an error page, or a body that only looks right, comes this far."""
        try:
            choice = found.choices[0]
            text, finish = as_text(choice.message.content, choice.message.tool_calls or ()), choice.finish_reason or "stop"
            usage = Usage(found.usage.prompt_tokens or 0, found.usage.completion_tokens or 0) if found.usage else Usage()
        except (AttributeError, IndexError, TypeError):
            said = redact(" ".join(str(found).split()))[:200]
            raise BackendError(
                f"{self.base_url}: the answer is no chat completion: {said}", "mend base_url: it mostly ends in /v1", transient=True
            ) from None
        return Reply(str(text), usage, str(finish))

    @contextmanager
    def _explained(self, form: Mapping[str, Any] | None) -> Iterator[None]:
        """Turn the SDK's errors into ours; one about the schema only ends its use."""
        try:
            yield
        except openai.APITimeoutError:
            raise BackendError(
                f"{self.base_url}: no answer in time ({self.limit})", "raise `timeout`, or lower `concurrency`", transient=True
            ) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise BackendError(
                f"{self.base_url}: cannot be reached: {redact(str(cause))}", self.hints["start"], final=True, transient=True
            ) from None
        except openai.APIStatusError as error:
            if form is None or not _about_schema(error):
                raise self._refusal(error) from None
            self.structured = False
        except (openai.OpenAIError, ValueError) as error:
            raise BackendError(
                f"{self.base_url}: the answer cannot be read: {redact(str(error))[:200]}", "look at the server's log", transient=True
            ) from None

    def _refusal(self, error: openai.APIStatusError) -> BackendError:
        said = f"{self.base_url} ({error.status_code}): {redact(_message(error))}"
        later = retry_after(error.response.headers)
        match error.status_code:
            case 401:
                return BackendError(f"the key is refused: {said}", self.hints["key"], final=True)
            case 404:
                return BackendError(f"no model {self.model!r}: {said}", self.hints["model"], final=True)
            case 402:
                return BackendError(f"nothing left to pay with: {said}", "add credit, then run again: answers so far are kept", final=True)
            case 429 if error.code == "insufficient_quota":
                return BackendError(f"nothing left to pay with: {said}", "add credit, then run again: answers so far are kept", final=True)
            case 429:
                hint = "lower `concurrency` or declare the server's limits, or raise `max_retries`"
                return BackendError(f"too many calls: {said}", hint, transient=True, throttled=True, retry_after=later)
            case status:
                again = status >= 500 or status in (408, 409)
                return BackendError(f"refused: {said}", of_request=not again, transient=again, retry_after=later)


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object in it names its keys, needs all of them and allows no other."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        keys = schema.get("properties")
        if not isinstance(keys, dict) or schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(keys):
            return False
    return all(is_strict(each) for each in schema.values())


def _about_schema(error: openai.APIStatusError) -> bool:
    """Whether a call was refused for the schema it came with, by a server that knows none or not this one."""
    words = str(error.body or error.message).lower()
    named = any(word in words for word in ("response_format", "json_schema", "schema", "structured", "guided", "grammar"))
    return error.status_code in (400, 404, 422, 501) and named


def _message(error: openai.APIStatusError) -> str:
    """The server's own words, or the start of what it sent."""
    body = error.body
    words = body.get("message") if isinstance(body, dict) else body
    return " ".join(str(words or error.message).split())[:300]
