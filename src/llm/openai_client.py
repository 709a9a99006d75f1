"""Calls over OpenAI's chat API, and what its failures mean to the user."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import openai

from src.core.secrets import redact
from src.llm.client import BackendError, Client, Message, Reply, Usage


class OpenAIClient(Client):
    """Talks to one model of one server."""

    def __init__(
        self, *, base_url: str, model: str, key: str, timeout: float, max_retries: int, trusts_environment: bool, hints: Mapping[str, str]
    ) -> None:
        """Make ready; nothing is sent yet.

        Args:
            base_url: Address of the API.
            model: Name of the model.
            key: Sent as the bearer token.
            timeout: Seconds a call may take.
            max_retries: Further tries of the SDK, with growing pauses or those the server asks for.
            trusts_environment: Whether the proxies that the environment names are used.
            hints: What to do where nobody listens (`start`), the key is refused (`key`), the model is not known (`model`).
        """
        self.model = model
        self.base_url = base_url
        self.hints = hints
        self.limit = f"timeout: {timeout:g} s"
        # the models of OpenAI itself refuse the older name, other servers know no other
        self.longest = "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"
        self.sdk = openai.OpenAI(
            base_url=base_url,
            api_key=key,
            timeout=timeout,
            max_retries=max_retries,
            http_client=openai.DefaultHttpxClient(trust_env=trusts_environment),
        )

    def close(self) -> None:
        """Close the connections."""
        self.sdk.close()

    def chat(self, messages: Sequence[Message], *, max_tokens: int, temperature: float | None = 0, seed: int | None = None) -> Reply:
        """Return the model's answer to a dialogue."""
        settings: dict[str, Any] = {self.longest: max_tokens, "temperature": temperature, "seed": seed}
        with self._explained():
            found: Any = self.sdk.chat.completions.create(
                model=self.model,
                messages=list(messages),  # type: ignore[arg-type]
                **{name: value for name, value in settings.items() if value is not None},
            )
        return self._reply(found)

    def _reply(self, found: Any) -> Reply:
        """Read a completion. The SDK checks none: an error page, or a body that only looks right, comes this far."""
        try:
            choice = found.choices[0]
            text, finish = choice.message.content or "", choice.finish_reason or "stop"
            usage = Usage(found.usage.prompt_tokens or 0, found.usage.completion_tokens or 0) if found.usage else Usage()
        except (AttributeError, IndexError, TypeError):
            said = redact(" ".join(str(found).split()))[:200]
            raise BackendError(
                f"{self.base_url}: the answer is no chat completion: {said}", "mend base_url: it mostly ends in /v1"
            ) from None
        return Reply(str(text), usage, str(finish))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except openai.APITimeoutError:
            raise BackendError(f"{self.base_url}: no answer in time ({self.limit})", "raise `timeout`, or lower `concurrency`") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise BackendError(f"{self.base_url}: cannot be reached: {redact(str(cause))}", self.hints["start"], final=True) from None
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.OpenAIError, ValueError) as error:
            raise BackendError(
                f"{self.base_url}: the answer cannot be read: {redact(str(error))[:200]}", "look at the server's log"
            ) from None

    def _refusal(self, error: openai.APIStatusError) -> BackendError:
        said = f"{self.base_url} ({error.status_code}): {redact(_message(error))}"
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
                return BackendError(f"too many calls: {said}", "lower `concurrency`, or raise `max_retries`")
            case _:
                return BackendError(f"refused: {said}", of_request=error.status_code < 500)


def _message(error: openai.APIStatusError) -> str:
    """The server's own words, or the start of what it sent."""
    body = error.body
    words = body.get("message") if isinstance(body, dict) else body
    return " ".join(str(words or error.message).split())[:300]
