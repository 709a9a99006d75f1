"""Asks a vLLM server which tokens it sees, and how likely it finds each."""

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from src.core.errors import MlxError
from src.llm.wire import on_the_wire

PATIENCE = 600.0  # seconds for one answer: on a CPU a long prompt takes its time


class Served:
    """A model on a vLLM server."""

    def __init__(self, url: str, name: str) -> None:
        """Reach the server and take the model `name`, else the one adapter, else the one model that it has.

        Raises:
            MlxError: Where nobody answers, or it is not plain which model is meant.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MlxError(f"{url!r} is no address of a server", "as in --url http://127.0.0.1:8000")
        self._parts = parts
        self._root = parts.path.rstrip("/").removesuffix("/v1")
        self.where = f"{parts.scheme}://{parts.netloc}"
        models = {each["id"]: each for each in self._ask("GET", "/v1/models", None)["data"]}
        self.name = self._pick(models, name)
        self.has_adapter = bool(models[self.name].get("parent"))

    def tokens(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], *, prompt: bool) -> list[int]:
        """Token ids of a conversation, or of the prompt for the next turn."""
        body: dict[str, Any] = {"model": self.name, "messages": [on_the_wire(each) for each in messages], "add_generation_prompt": prompt}
        return list(self._ask("POST", "/tokenize", body | ({"tools": list(tools)} if tools else {}))["tokens"])

    def log_probs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability of each token but the first."""
        body = {"model": self.name, "prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        found = self._ask("POST", "/v1/completions", body)["choices"][0]["prompt_logprobs"]
        return [float(each[str(token)]["logprob"]) for token, each in zip(ids[1:], found[1:], strict=True)]

    def _pick(self, models: Mapping[str, Any], name: str) -> str:
        adapters = [each for each, about in models.items() if about.get("parent")]
        choice = [name] if name in models else adapters or list(models)
        if len(choice) != 1:
            raise MlxError(f"{self.where} has several models: {', '.join(choice)}", "name one with KEY=VALUE: serve.model_name=NAME")
        return choice[0]

    def _ask(self, method: str, path: str, body: Any) -> Any:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=PATIENCE)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, self._root + path, data, {"content-type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise MlxError(f"no answer from {self.where}: {error}", "start the server, or leave --url out") from None
        finally:
            connection.close()
        return self._read(path, response.status, text)

    def _read(self, path: str, status: int, text: bytes) -> Any:
        if status == 404 and path == "/tokenize":
            raise MlxError(f"{self.where} has no /tokenize", "name the vLLM itself, not a gateway before it, or leave --url out")
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status != 200 or not isinstance(answer, dict):
            raise MlxError(f"{self.where}{path} answers {status}: {text[:300].decode(errors='replace')}", "look at the server's log")
        return answer
