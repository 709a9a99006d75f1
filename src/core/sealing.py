"""Lines that nobody reads without a key: AES-256-GCM, a key made from a secret of the environment."""

import base64
import hashlib
import json
import os
from typing import Any

NONCE = 12
CONVERSATIONS = "mlx conversations 1"
"""Purpose of the lines in which a server keeps what was said; whoever reads them back gives the same."""


class SealError(Exception):
    """A line that cannot be opened: another key, or a changed line."""


class Seal:
    """Seals JSON values; without a secret lines are readable."""

    def __init__(self, secret: str | None, purpose: str) -> None:
        """`purpose` keeps keys made from the same secret apart; another one cannot open what this one seals."""
        self._purpose = purpose.encode()
        self._key = (
            hashlib.blake2b(self._purpose, key=hashlib.sha512(secret.encode()).digest(), digest_size=32).digest() if secret else None
        )

    def close(self, value: dict[str, Any]) -> str:
        """One line."""
        if self._key is None:
            return json.dumps({"open": value}, ensure_ascii=False)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(NONCE)
        data = nonce + AESGCM(self._key).encrypt(nonce, json.dumps(value, ensure_ascii=False).encode(), self._purpose)
        return json.dumps({"sealed": base64.b64encode(data).decode()})

    def open(self, line: str) -> dict[str, Any]:
        """The value of a line.

        Raises:
            SealError: Where it is no such line, or the key is not the one.
        """
        try:
            found = json.loads(line)
            value = found["open"] if "open" in found else self._opened(base64.b64decode(found["sealed"], validate=True))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SealError("no line of this log") from None
        if not isinstance(value, dict):
            raise SealError("no line of this log")
        return value

    def _opened(self, data: bytes) -> Any:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if self._key is None:
            raise SealError("sealed, and there is no key")
        try:
            return json.loads(AESGCM(self._key).decrypt(data[:NONCE], data[NONCE:], self._purpose))
        except InvalidTag:
            raise SealError("sealed with another key, or changed") from None
