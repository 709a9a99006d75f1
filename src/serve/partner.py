"""Who answers in `mlx chat`: a server that runs, or the trained model in this process."""

import http.client
import json
import os
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from src.core.errors import MlxError
from src.core.stage import folder

Messages = list[dict[str, Any]]
LOADING = 900.0  # seconds that a server may take to load its model
LIMIT = 1024  # longest answer of a model in this process, in tokens
KEY = "MLX_API_KEY"
"""Environment variable with the key for a server that asks for one."""


class Partner(Protocol):
    """Who answers."""

    name: str
    where: str
    """In words."""

    def answer(self, messages: Messages) -> Generator[str]:
        """Yield the answer piece by piece."""


def partner(project: str, url: str | None = None, *, made_by: str = "mlx train") -> Partner:
    """Take the server at `url`, else the project's own if it runs, else load what the project trained.

    Raises:
        MlxError: Where there is no such server, or no such model.
    """
    if url:
        return Remote(url)
    try:
        told = json.loads((folder(project, "serve") / "server.json").read_text(encoding="utf-8"))
        return Remote(told["url"])
    except LockedError:  # it runs: a model of our own beside it would only hide that
        raise
    except (OSError, ValueError, KeyError, MlxError):  # none, or one that was killed
        return Own(folder(project, "train"), project, made_by)


class LockedError(MlxError):
    """A server that wants a key, or another one."""


class Remote:
    """An OpenAI-compatible server."""

    def __init__(self, url: str, *, patience: float = LOADING) -> None:
        """Reach the server and take its first model, waiting for one that is loading; the key of MLX_API_KEY goes along where it is set."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MlxError(f"{url!r} is no address of a server", "as in http://127.0.0.1:8000/v1")
        self._parts = parts
        self._root = parts.path.rstrip("/").removesuffix("/v1")
        self.where = f"{parts.scheme}://{parts.netloc}"
        self.name = self._model()
        self._await(patience)

    def answer(self, messages: Messages) -> Generator[str]:
        """Stream an answer; greedy, so that it can be had again."""
        body = {"model": self.name, "messages": messages, "stream": True, "temperature": 0}
        with closing(self._ask("POST", "/v1/chat/completions", body)) as connection:
            response = connection.getresponse()
            if response.status != 200:
                raise MlxError(f"{self.where}: {_message(self._json(response))}")
            try:
                yield from _deltas(response)
            except (OSError, http.client.HTTPException) as error:
                raise MlxError(f"{self.where} broke off: {error}") from None

    def _model(self) -> str:
        with closing(self._ask("GET", "/v1/models")) as connection:
            response = connection.getresponse()
            found = self._json(response)
        if response.status in (401, 403):
            lacks = "the one there is not known" if os.environ.get(KEY) else "mlx token create makes one"
            raise LockedError(f"{self.where}: {_message(found)}", f"put a key into {KEY}, by .env or export; {lacks}")
        try:
            return str(found["data"][0]["id"])
        except (KeyError, TypeError, IndexError):
            raise MlxError(f"{self.where} offers no model (status {response.status})") from None

    def _await(self, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            with closing(self._ask("GET", "/health")) as connection:
                response = connection.getresponse()
                loading = response.status == 503 and b'"loading"' in response.read()
            if not loading:  # others have no such route, or answer it in their own way
                return
            if time.monotonic() > end:
                raise MlxError(f"{self.where} is still loading its model", "look at its log, or try again")
            time.sleep(0.2)

    def _ask(self, method: str, path: str, body: Any = None) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=300)
        data = json.dumps(body).encode() if body is not None else None
        headers = {"content-type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            headers["authorization"] = f"Bearer {key}"
        try:
            connection.request(method, self._root + path, data, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise MlxError(f"no server at {self.where}: {error}", "start one with `mlx serve`, or leave --url out") from None
        return connection

    def _json(self, response: http.client.HTTPResponse) -> Any:
        try:
            return json.loads(response.read())
        except ValueError:
            raise MlxError(f"{self.where} does not speak like an OpenAI-compatible server (status {response.status})") from None


class Own:
    """The trained model in this process."""

    def __init__(self, trained: Path, name: str, made_by: str) -> None:
        from src.models.trained import Trained
        from src.serve.local import Local

        found = Trained.of(trained, made_by)
        self.name = name
        self.where = "in this process"
        self._system = found.system
        self._local = Local.of(found, limit=LIMIT)

    def answer(self, messages: Messages) -> Generator[str]:
        """Stream an answer; greedy, so that it can be had again."""
        from src.serve.parse import parse
        from src.serve.request import RequestError

        body = {"model": self.name, "messages": messages, "temperature": 0}
        try:
            request = parse(json.dumps(body).encode()).with_system(self._system)
            prompt = self._local.prompt(request)
        except RequestError as error:
            raise MlxError(str(error)) from None
        yield from self._local.stream(prompt, request.fields)


def _deltas(response: http.client.HTTPResponse) -> Generator[str]:
    for line in response:
        data = line.decode("utf-8").removeprefix("data:").strip() if line.startswith(b"data:") else ""
        if not data or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise MlxError(_message(event))
        for choice in event.get("choices", []):
            if text := choice.get("delta", {}).get("content"):
                yield text


def _message(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)
