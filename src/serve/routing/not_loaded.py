"""What is known of a model that did not load: all of it for the log, and what concerns them for those who asked."""

import re
from dataclasses import dataclass
from math import ceil

from src.core.secrets import redact
from src.serve.request import RequestError, UnavailableError

_SPENT = re.compile(
    r"out of memory|OutOfMemory|(?:cannot|can't|unable to) allocate|more (?:system )?memory|insufficient memory|signal 9\b", re.I
)
"""How CUDA, torch, llama.cpp, Ollama and a process that the system ended say that memory did not suffice."""
_PLACE = re.compile(r"(?:\bhttps?:/)?(?<![\w.])(?:/[\w.:@\[\]~+-]+)+/?")
"""A path of this machine, or an address of another."""


@dataclass
class NotLoaded:
    """A load that failed, and until when none is tried again."""

    until: float
    error: Exception

    @property
    def words(self) -> str:
        """Why, with the last lines of the engine's log where there are any: for those who run the server."""
        return redact(str(self.error)) or "it takes too long"

    @property
    def out_of_memory(self) -> bool:
        """Whether it says that it takes more memory than there is."""
        return isinstance(self.error, MemoryError) or bool(_SPENT.search(f"{type(self.error).__name__}: {self.error}"))

    def told(self, now: float) -> RequestError:
        """What requests are answered: a refusal in its own words, as of a model that is not there, else 503 without what is inside."""
        if isinstance(self.error, RequestError) and self.error.status < 500:
            told = self.error.body["error"]  # one for each request: headers are added on the way
            return RequestError(self.error.status, told["message"], code=told["code"], param=told["param"], kind=told["type"])
        words = "there is not enough memory for it" if self.out_of_memory else _PLACE.sub("…", self.words.splitlines()[0])
        return unavailable(f"the model does not load: {words}", "model_not_loaded", self.until - now)


def unavailable(message: str, code: str, seconds: float) -> UnavailableError:
    """503, and when to come again; no engine was asked."""
    headers = {"retry-after": str(max(1, ceil(seconds)))}
    error = UnavailableError(503, message[:500], kind="server_error", code=code, headers=headers)
    error.tries = 0
    return error
