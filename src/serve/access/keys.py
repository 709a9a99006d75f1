"""The keys of a project: made once, shown once, kept as hashes, revoked at once."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from src.core.errors import MlxError, did_you_mean

FILE = "keys.json"
MARK = "mlx_"
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


@dataclass(frozen=True)
class Key:
    """What is kept of a key, or of a signed token that is revoked."""

    id: str
    name: str
    role: str
    created: str
    expires: str | None = None
    revoked: str | None = None
    hash: str | None = None
    """SHA-256 of the whole key: with 256 random bits no slower hash makes guessing harder. None for signed tokens."""

    @property
    def state(self) -> str:
        """`valid`, `revoked` or `expired`."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= _now().isoformat() else "valid"


class Keys:
    """The keys in `folder`, re-read whenever the file is another, so that a revoked key is refused at the next request."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._name = str(self.path)
        self._seen: tuple[int, ...] | None = None
        self._keys: dict[str, Key] = {}

    def all(self) -> list[Key]:
        """Every key, revoked ones too."""
        return list(self._fresh().values())

    def find(self, text: str) -> Key | None:
        """The valid key that `text` is, in a time that does not tell how much of it was right."""
        known = self._fresh().get(text[len(MARK) :].partition("_")[0]) if text.startswith(MARK) else None
        wanted = (known.hash if known else None) or _NOBODY
        same = hmac.compare_digest(hashlib.sha256(text.encode()).hexdigest(), wanted)
        return known if known and same and known.state == "valid" else None

    def revoked(self, token: str) -> bool:
        """Whether the signed token with this `jti` is revoked."""
        found = self._fresh().get(token)
        return found is not None and found.revoked is not None

    def create(self, *, name: str, role: str, days: float | None) -> tuple[Key, str]:
        """Make a key; its text is given out here and nowhere else."""
        number = secrets.token_hex(6)
        text = f"{MARK}{number}_{secrets.token_urlsafe(32)}"
        expires = (_now() + timedelta(days=days)).isoformat() if days else None
        key = Key(number, name, role, _now().isoformat(), expires, hash=hashlib.sha256(text.encode()).hexdigest())
        with self._changed() as keys:
            keys[number] = key
        return key, text

    def note(self, key: Key) -> None:
        """Note a signed token, so that it can be listed and revoked."""
        with self._changed() as keys:
            keys[key.id] = key

    def revoke(self, number: str, *, foreign: bool = False) -> Key:
        """Revoke a key by its id or the prefix that `mlx token list` shows.

        Args:
            number: The id.
            foreign: Whether it may be the `jti` of a token that was not made here.

        Raises:
            MlxError: Where there is no such key.
        """
        number = number.removeprefix(MARK)
        with self._changed() as keys:
            if number not in keys and not foreign:
                raise MlxError(
                    f"there is no key {number!r}{did_you_mean(number, keys)}", "mlx token list shows all; --jti revokes a foreign token"
                )
            key = keys.get(number) or Key(number, "foreign token", "", _now().isoformat())
            keys[number] = key if key.revoked else replace(key, revoked=_now().isoformat())
            return keys[number]

    @property
    def mark(self) -> tuple[int, ...] | None:
        """Stands for the file as it was when it was last read."""
        return self._seen

    def look(self) -> tuple[int, ...] | None:
        """Stands for the file as it is now."""
        try:
            stat = os.stat(self._name)  # noqa: PTH116 (each request asks)
        except FileNotFoundError:
            return None
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def _fresh(self) -> dict[str, Key]:
        if (seen := self.look()) is None:
            self._seen, self._keys = None, {}
            return self._keys
        if seen != self._seen:
            try:
                self._keys = {each["id"]: Key(**each) for each in json.loads(self.path.read_text(encoding="utf-8"))}
            except (ValueError, TypeError, KeyError) as error:
                raise MlxError(f"{self.path} is damaged: {error}", "put it back from a copy; until then nobody is let in") from None
            self._seen = seen
        return self._keys

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Key]]:
        """Change the keys: one process at a time, whole or not at all, for nobody else's eyes."""
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{FILE}.lock"), mode=0o600):
            keys = dict(self._fresh())
            yield keys
            temporary = self.path.with_name(f".{FILE}.part")
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
                json.dump([asdict(key) for key in keys.values()], stream, indent=1, ensure_ascii=False)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.path)


def _now() -> datetime:
    return datetime.now(UTC)
