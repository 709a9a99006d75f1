"""What was fetched, kept on disk between runs: used while fresh, asked about with a condition once stale."""

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path

from src.core.files import atomic

_LONGEST = 7 * 86400.0
_MAX_AGE = re.compile(r"\bmax-age=\"?(\d{1,9})")


@dataclass(frozen=True)
class Kept:
    """An answer as it was kept."""

    url: str
    fresh_until: float
    """Seconds since 1970."""
    etag: str
    last_modified: str
    body: bytes

    @property
    def is_fresh(self) -> bool:
        """Whether it may be used without asking."""
        return time.time() < self.fresh_until

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the body only where it has changed."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value}


class HttpCache:
    """Answers to GET by URL, each a file: a line of JSON, then the body."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, url: str) -> Kept | None:
        """What was kept for `url`; a damaged file counts as nothing."""
        try:
            head, _, body = self._path(url).read_bytes().partition(b"\n")
            found = Kept(**json.loads(head), body=body)
        except (OSError, ValueError, TypeError):
            return None
        return found if found.url == url else None

    def keep(self, url: str, headers: Message, body: bytes) -> None:
        """Keep an answer that may be kept, and can be used again or asked about."""
        found = Kept(url, time.time() + lifetime(headers), headers.get("ETag") or "", headers.get("Last-Modified") or "", body)
        stored = "no-store" not in (headers.get("Cache-Control") or "").lower()
        if stored and (found.is_fresh or found.conditions):
            self._write(found)

    def renew(self, kept: Kept, headers: Message) -> None:
        """Note that a kept answer is still right (304)."""
        merged = Message()
        for name, value in [*headers.items(), ("ETag", kept.etag), ("Last-Modified", kept.last_modified)]:
            if name not in merged:
                merged[name] = value
        self.keep(kept.url, merged, kept.body)

    def _write(self, kept: Kept) -> None:
        head = {key: value for key, value in asdict(kept).items() if key != "body"}
        with atomic(self._path(kept.url), "wb") as stream:
            stream.write(json.dumps(head).encode() + b"\n" + kept.body)

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self.folder / name[:2] / name


def lifetime(headers: Message) -> float:
    """Seconds for which an answer is fresh: as it says, else a tenth of its age, a week at most (RFC 9111, 4.2)."""
    control = (headers.get("Cache-Control") or "").lower()
    if "no-cache" in control or "no-store" in control:
        return 0.0
    if stated := _MAX_AGE.search(control):
        return float(stated[1])
    date = _seconds(headers.get("Date")) or time.time()
    if headers.get("Expires"):
        return max(0.0, _seconds(headers.get("Expires")) - date)
    changed = _seconds(headers.get("Last-Modified"))
    return min(max(0.0, date - changed) / 10, _LONGEST) if changed else 0.0


def _seconds(value: str | None) -> float:
    try:
        return parsedate_to_datetime(value or "").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
