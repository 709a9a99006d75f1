"""The public keys that an issuer of tokens publishes, fetched when needed and not at every unknown name."""

import asyncio
import json
import time
import urllib.request
from typing import Any

import jwt

from src.core.errors import MlxError

FRESH = 600.0  # seconds that fetched keys are good for
PAUSE = 30.0  # seconds between two fetches, whatever clients send
LARGEST = 1 << 20
TIMEOUT = 5.0


class _Stay(urllib.request.HTTPRedirectHandler):
    """Keys come from where the settings say, and from nowhere that the answer points to."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


class Jwks:
    """Keys by their `kid`; where the issuer cannot be reached the ones before stay good."""

    def __init__(self, url: str, algorithm: str) -> None:
        self._url = url
        self._algorithm = algorithm
        self._keys: dict[str, Any] = {}
        self._tried = -FRESH
        self._lock = asyncio.Lock()

    async def key(self, name: str) -> Any:
        """The key of this name, or None.

        Raises:
            MlxError: Where the issuer gave no keys yet: then nothing is known of any token.
        """
        if self._due(name):
            async with self._lock:
                if self._due(name):
                    self._tried = time.monotonic()
                    self._keys = await asyncio.to_thread(self._fetch) or self._keys
        if not self._keys:
            raise MlxError(f"{self._url} gives no keys of {self._algorithm}", "look whether serve.access.jwt.jwks_url is up")
        return self._keys.get(name)

    def _due(self, name: str) -> bool:
        age = time.monotonic() - self._tried
        return age > FRESH or (name not in self._keys and age > PAUSE)

    def _fetch(self) -> dict[str, Any]:
        try:
            with _OPENER.open(self._url, timeout=TIMEOUT) as response:
                found = json.loads(response.read(LARGEST))["keys"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        named = [each for each in found if isinstance(each, dict) and isinstance(each.get("kid"), str)] if isinstance(found, list) else []
        return {each["kid"]: key for each in named if each.get("use", "sig") == "sig" and (key := self._read(each))}

    def _read(self, found: dict[str, Any]) -> Any:
        if found.get("alg", self._algorithm) != self._algorithm or found.get("kty") == "oct":
            return None
        try:
            return jwt.PyJWK(found, self._algorithm).key
        except jwt.PyJWTError:
            return None
