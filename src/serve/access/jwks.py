"""The public keys that an issuer of tokens publishes, fetched when needed and not at every unknown name."""

import asyncio
import json
import time
import urllib.request
from typing import Any

import jwt

FRESH = 600.0  # seconds that fetched keys are good for
PAUSE = 30.0  # seconds between two fetches, whatever clients send
LARGEST = 1 << 20
TIMEOUT = 5.0


class Jwks:
    """Keys by their `kid`; where the issuer cannot be reached the ones before stay good."""

    def __init__(self, url: str, algorithm: str) -> None:
        self._url = url
        self._algorithm = algorithm
        self._keys: dict[str, Any] = {}
        self._tried = -FRESH
        self._lock = asyncio.Lock()

    async def key(self, name: str) -> Any:
        """The key of this name, or None."""
        if self._due(name):
            async with self._lock:
                if self._due(name):
                    self._tried = time.monotonic()
                    self._keys = await asyncio.to_thread(self._fetch) or self._keys
        return self._keys.get(name)

    def _due(self, name: str) -> bool:
        age = time.monotonic() - self._tried
        return age > FRESH or (name not in self._keys and age > PAUSE)

    def _fetch(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self._url, timeout=TIMEOUT) as response:  # noqa: S310 (the settings take https alone)
                found = json.loads(response.read(LARGEST))["keys"]
            return {each["kid"]: key for each in found if each.get("use", "sig") == "sig" and "kid" in each and (key := self._read(each))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _read(self, found: dict[str, Any]) -> Any:
        if found.get("alg", self._algorithm) != self._algorithm or found.get("kty") == "oct":
            return None
        try:
            return jwt.PyJWK(found, self._algorithm).key
        except jwt.PyJWTError:
            return None
