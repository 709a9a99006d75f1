"""Calls over Bedrock's Converse API, and what its failures mean to the user."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config as Settings
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError
from botocore.exceptions import ConnectionError as Unreachable

from src.core.errors import MlxError
from src.core.secrets import redact
from src.llm.client import BackendError, Client, Message, Reply, Usage
from src.llm.patience import backoff, retry_after

_SIDE_BY_SIDE = 64
_BUSY = "ThrottlingException"
_LATER = {_BUSY, "ServiceUnavailableException", "ModelTimeoutException", "InternalServerException", "ModelNotReadyException"}
_KEYS = {"AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"}


class BedrockClient(Client):
    """Talks to one model on Bedrock, through threads where calls are made beside each other."""

    def __init__(self, *, model: str, region: str | None, profile: str | None, timeout: float, max_retries: int) -> None:
        """Make ready; nothing is sent yet.

        Raises:
            MlxError: Where nothing names a region.
        """
        self.model = model
        self.max_retries = max_retries
        self.structured = True
        """Whether the model takes a schema, as far as is known."""
        self.chance = random.Random(model)
        once = {"total_max_attempts": 1}  # when to try again is decided here
        settings = Settings(retries=once, read_timeout=timeout, connect_timeout=min(timeout, 30), max_pool_connections=_SIDE_BY_SIDE)
        try:
            self.sdk: Any = boto3.Session(profile_name=profile, region_name=region).client("bedrock-runtime", config=settings)
        except NoRegionError:
            raise MlxError("bedrock: no region is set", "set `region`, or AWS_REGION in .env") from None
        except BotoCoreError as error:
            raise MlxError(f"bedrock: {error}", "mend `profile`, or ~/.aws/config") from None
        self.pool = ThreadPoolExecutor(_SIDE_BY_SIDE)

    def close(self) -> None:
        """Close the connections."""
        self.pool.shutdown()
        self.sdk.close()

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
        for attempt in range(self.max_retries):
            try:
                return self._once(messages, max_tokens, temperature, schema)
            except BackendError as error:
                if not error.transient:
                    raise
                time.sleep(backoff(attempt, self.chance) if error.retry_after is None else error.retry_after)
        return self._once(messages, max_tokens, temperature, schema)

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
        """Do as `chat`, in one try; Converse knows no seed, and no tools are offered to it here."""
        if tools:
            raise BackendError("bedrock: no tools can be offered here", "measure tool calls with another backend", of_request=True)
        return await asyncio.get_running_loop().run_in_executor(self.pool, self._once, messages, max_tokens, temperature, schema)

    def _once(self, messages: Sequence[Message], max_tokens: int, temperature: float | None, schema: Mapping[str, Any] | None) -> Reply:
        body = _body(messages, max_tokens, temperature)
        if schema is not None and self.structured:
            with self._explained(schema):
                return _reply(self.sdk.converse(modelId=self.model, **body, outputConfig=_form(schema)))
        with self._explained(None):
            return _reply(self.sdk.converse(modelId=self.model, **body))
        raise AssertionError  # without a schema every error is raised

    @contextmanager
    def _explained(self, schema: Mapping[str, Any] | None) -> Iterator[None]:
        """Turn AWS's errors into ours; one about the schema only ends its use."""
        try:
            yield
        except ClientError as error:
            if schema is None or not _about_schema(error):
                raise self._refusal(error) from None
            self.structured = False
        except NoCredentialsError:
            raise BackendError("bedrock: no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env", final=True) from None
        except (EndpointConnectionError, Unreachable) as error:
            raise BackendError(f"bedrock: cannot be reached: {redact(str(error))}", "mend `region`", transient=True) from None
        except BotoCoreError as error:
            raise BackendError(f"bedrock: {redact(str(error))[:300]}", transient=True) from None

    def _refusal(self, error: ClientError) -> BackendError:
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        said = f"bedrock ({code}): {redact(str(told.get('Message', error)))[:300]}"
        if code in _KEYS:
            return BackendError(f"not allowed: {said}", "mend the AWS keys in .env, or ask for access to the model", final=True)
        if code == "ResourceNotFoundException":
            return BackendError(f"no model {self.model!r}: {said}", "mend `model`, or `region`", final=True)
        again = code in _LATER
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return BackendError(said, of_request=not again, transient=again, throttled=code == _BUSY, retry_after=retry_after(headers))


def _body(messages: Sequence[Message], max_tokens: int, temperature: float | None) -> dict[str, Any]:
    """Converse keeps the system's words apart from the turns."""
    settings: dict[str, Any] = {"maxTokens": max_tokens} | ({} if temperature is None else {"temperature": float(temperature)})
    turns = [each for each in messages if each["role"] != "system"]
    system = [{"text": each["content"]} for each in messages if each["role"] == "system"]
    body: dict[str, Any] = {"messages": [{"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in turns]}
    return body | ({"system": system} if system else {}) | {"inferenceConfig": settings}


def _form(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": "answer"}}}}


def _about_schema(error: ClientError) -> bool:
    told = error.response.get("Error", {})
    words = str(told.get("Message", "")).lower()
    return told.get("Code") == "ValidationException" and any(
        word in words for word in ("schema", "outputconfig", "textformat", "structured")
    )


def _reply(found: Mapping[str, Any]) -> Reply:
    parts = found.get("output", {}).get("message", {}).get("content", [])
    used = found.get("usage", {})
    text = "".join(part.get("text", "") for part in parts)  # thoughts come as parts of another kind
    finish = "length" if found.get("stopReason") == "max_tokens" else "stop"
    return Reply(text, Usage(used.get("inputTokens", 0), used.get("outputTokens", 0)), finish)
