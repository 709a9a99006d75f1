"""What nobody reads without a key: AES-256-GCM, a key made from a secret of the environment."""

import base64
import hashlib
import json
import os
from typing import Any

NONCE = 12
CONVERSATIONS = "mlx conversations 1"
"""Purpose of the lines in which a server keeps what was said; whoever reads them back gives the same."""
MEMORY = "mlx memory 1"
"""Purpose of the notes of a memory and their vectors."""


class SealError(Exception):
    """What cannot be opened: another key, or something changed."""


class Seal:
    """Seals bytes, and JSON values as lines; without a secret lines are readable."""

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
        return json.dumps({"sealed": base64.b64encode(self.pack(json.dumps(value, ensure_ascii=False).encode())).decode()})

    def open(self, line: str) -> dict[str, Any]:
        """The value of a line.

        Raises:
            SealError: Where it is no such line, or the key is not the one.
        """
        try:
            found = json.loads(line)
            value = found["open"] if "open" in found else json.loads(self.unpack(base64.b64decode(found["sealed"], validate=True)))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SealError("no line of this log") from None
        if not isinstance(value, dict):
            raise SealError("no line of this log")
        return value

    def pack(self, data: bytes) -> bytes:
        """Bytes, sealed.

        Raises:
            SealError: Where there is no key.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(NONCE)
        return nonce + AESGCM(self._there()).encrypt(nonce, data, self._purpose)

    def unpack(self, data: bytes) -> bytes:
        """Bytes that were sealed.

        Raises:
            SealError: Where there is no key, or it is not the one.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._there()).decrypt(data[:NONCE], data[NONCE:], self._purpose)
        except (InvalidTag, ValueError):
            raise SealError("sealed with another key, or changed") from None

    def mark(self, data: bytes) -> str:
        """A name for bytes, always the same, that says nothing of them to who has no key."""
        return hashlib.blake2b(data, key=self._there(), person=b"mark", digest_size=32).hexdigest()

    def _there(self) -> bytes:
        if self._key is None:
            raise SealError("sealed, and there is no key")
        return self._key
