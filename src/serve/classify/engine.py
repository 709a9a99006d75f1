"""The engine that answers /v1/classify: passes texts on to the process that has the classifier."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

from src.serve.beside.keeper import Keeper
from src.serve.beside.line import LineError
from src.serve.reply import Reply, usage
from src.serve.request import CLASSIFY, Call, RequestError, UnavailableError

RETRY = {"retry-after": "2"}
BUSY = ("down", "late", "unavailable", "overloaded", "failed")
"""What is no fault of the request: another model may answer in its place."""


class ClassifyEngine:
    """A classifier beside the server."""

    paths = frozenset({CLASSIFY})

    def __init__(self, name: str, settings: dict[str, Any], *, most: int, patience: float, path: Path, log: Path) -> None:
        """Prepare; `run` starts the process.

        Args:
            name: What clients call the model.
            settings: Of the process.
            most: Texts that a request may have.
            patience: Seconds that an answer may take.
            path: Where the process's socket lies.
            log: What the process prints is appended here.
        """
        self._name = name
        self._most = most
        self._patience = patience
        self._keeper = Keeper("src.serve.classify.process", settings, path=path, log=log)

    @property
    def state(self) -> str:
        """`loading`, `ready`, `restarting`, `failed` or `stopped`."""
        return {"starting": "loading"}.get(self._keeper.state, self._keeper.state)

    async def run(self) -> None:
        """Keep the process."""
        await self._keeper.run()

    async def stop(self) -> None:
        """The process ends with `run`."""

    async def ask(self, call: Call) -> Reply:
        """Classify the texts of a call.

        Raises:
            UnavailableError: 503 where the process is not there, or too many texts wait.
            RequestError: 413 or 400 where it has too many texts, or one that is empty or too long.
        """
        texts = call.fields.texts  # type: ignore[union-attr]
        if len(texts) > self._most:
            raise RequestError(413, f"{len(texts)} texts, and a request may have {self._most}", code="too_many_inputs", param="input")
        try:
            found = await self._keeper.line.ask("classify", within=self._patience, texts=texts)
        except LineError as error:
            raise _refused(error, self._name) from None
        rows = [_row(number, found["labels"], shares) for number, shares in enumerate(found["probabilities"])]
        told = {"id": f"classify-{uuid.uuid4().hex}", "object": "list", "created": int(time.time()), "model": self._name}
        return Reply.of({**told, "data": rows, "usage": usage(sum(found["tokens"]), 0)})


def _row(number: int, labels: list[str], shares: list[float]) -> dict[str, Any]:
    best = max(range(len(labels)), key=shares.__getitem__)
    return {"index": number, "label": labels[best], "score": shares[best], "probabilities": dict(zip(labels, shares, strict=True))}


def _refused(error: LineError, name: str) -> RequestError:
    if error.why in BUSY:
        words = "has too many texts waiting" if error.why == "overloaded" else "is not ready"
        code = "overloaded" if error.why == "overloaded" else "engine_unavailable"
        return UnavailableError(503, f"{name} {words}; try again soon", kind="server_error", code=code, headers=RETRY)
    told = json.loads(str(error))
    return RequestError(400, f"input.{told['at']}: {told['message']}", code=error.why, param=f"input.{told['at']}")
