"""Remembers which models did not load, and what requests for them are answered until they are tried again."""

import re
from math import ceil

from src.core.secrets import redact
from src.serve.request import RequestError, UnavailableError
from src.serve.spent import spent

_PLACE = re.compile(r"(?:\bhttps?:/)?(?<![\w.])(?:/[\w.:@\[\]~+-]+)+/?")
"""A path of this machine, or an address of another."""


class FailedLoads:
    """Models that did not load.

    Args:
        retry: Seconds in which such a model is not tried again.
    """

    def __init__(self, retry: float) -> None:
        self.retry = retry
        self._found: dict[str, tuple[float, Exception]] = {}

    def note(self, name: str, error: Exception, now: float) -> None:
        """A model did not load."""
        self._found[name] = now + self.retry, error

    def forget(self, name: str) -> None:
        """It did."""
        self._found.pop(name, None)

    def refusal(self, name: str, now: float) -> RequestError | None:
        """What a request for a model is answered; None where it may try."""
        return self.told(name, now) if name in self._found and self._found[name][0] > now else None

    def told(self, name: str, now: float) -> RequestError:
        """Why a model did not load: a refusal in its engine's own words, as of a model that is not there, else 503 and little more."""
        until, error = self._found[name]
        if isinstance(error, RequestError) and error.status < 500:
            told = error.body["error"]  # one for each request: headers are added on the way
            return RequestError(error.status, told["message"], code=told["code"], param=told["param"], kind=told["type"])
        said = "there is not enough memory for it" if out_of_memory(error) else _PLACE.sub("…", words(error).splitlines()[0])
        return unavailable(f"the model does not load: {said}", "model_not_loaded", until - now)


def words(error: Exception) -> str:
    """Why a model did not load, with the last lines of its engine's log where there are any: for those who run the server."""
    return redact(str(error)) or "it takes too long"


def out_of_memory(error: Exception) -> bool:
    """Whether an engine says that its model takes more memory than there is."""
    return isinstance(error, MemoryError) or spent(f"{type(error).__name__}: {error}")


def unavailable(message: str, code: str, seconds: float) -> UnavailableError:
    """503, to be asked again after so many seconds; no engine was asked yet."""
    headers = {"retry-after": str(max(1, ceil(seconds)))}
    error = UnavailableError(503, message[:500], kind="server_error", code=code, headers=headers)
    error.tries = 0
    return error
