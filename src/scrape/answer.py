"""Answers of a JSON API as records that can stand for the results of a tool."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record
from src.scrape.fetcher import Fetcher, FetchFailedError, NotFoundError

REFUSED = {400: "bad_request", 401: "not_allowed", 403: "not_allowed", 429: "rate_limited", 503: "overloaded"}


@dataclass(frozen=True)
class Question:
    """What is asked of an API."""

    name: str
    """The id of the record that the answer becomes."""
    url: str
    tool: str
    """The tool that would ask this."""
    parameters: Mapping[str, Any]
    meta: Mapping[str, Any]
    hidden: Mapping[str, str] = field(default_factory=dict)
    """Parameters that are sent and written down nowhere: keys."""

    @property
    def address(self) -> str:
        """The URL with its open parameters."""
        return f"{self.url}?{urlencode(self.parameters, safe=',')}" if self.parameters else self.url


def answer(fetcher: Fetcher, question: Question, *, wait: Callable[[bytes], float] | None = None) -> dict[str, Any] | list[Any] | Drop:
    """Ask; return the JSON that came, or as a drop why none did."""
    name = question.name
    try:
        data = fetcher.get(question.address, hidden=question.hidden, wait=wait)
    except NotFoundError:
        return Drop(name, "not_found", question.address)
    except FetchFailedError as error:
        reason = REFUSED.get(error.status, "fetch_failed")
        return Drop(name, reason, _said(error.body) or str(error), _row(question))
    try:
        found = json.loads(data)
    except ValueError as error:
        return Drop(name, "bad_json", str(error), _row(question))
    if not isinstance(found, dict | list):
        return Drop(name, "bad_json", f"a {type(found).__name__}, not an object", _row(question))
    if isinstance(found, dict) and found.get("error"):  # said with status 200
        return Drop(name, "bad_request", str(found.get("reason") or found["error"]), _row(question))
    return found


def as_record(question: Question, found: Any) -> Record:
    """The answer as a record: its text is the JSON, `tool` and `arguments` of its meta tell what was asked."""
    asked = {"url": question.address, "tool": question.tool, "arguments": dict(question.parameters)}
    return Record(question.name, to_json(found), {"source": question.name} | dict(question.meta) | asked)


def _said(body: bytes) -> str:
    """What an error body says in words."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("reason") or found.get("message") or "") if isinstance(found, dict) else ""


def _row(question: Question) -> dict[str, Any]:
    return {"url": question.address}
