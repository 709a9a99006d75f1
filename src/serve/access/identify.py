"""Finds who asks, from the one header that may tell: a key, or a signed token."""

import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.serve.access.caller import Caller
from src.serve.access.keys import MARK, Keys
from src.serve.access.settings import Access
from src.serve.access.strength import strong
from src.serve.request import RequestError

if TYPE_CHECKING:
    from src.serve.access.tokens import Tokens

LOG = logging.getLogger("mlx.serve")
MOST = 10_000  # headers that are remembered
LONGEST = 8192  # characters of a token
CHALLENGE = {"www-authenticate": 'Bearer realm="mlx"'}


class Identify:
    """Tells callers by their Authorization header."""

    def __init__(self, access: Access, folder: Path) -> None:
        """Prepare, with the keys in `folder`.

        Raises:
            MlxError: Where the secret of signed tokens is missing or weak.
        """
        self.access = access
        self.keys = Keys(access.keys_at(folder))
        self.tokens = tokens_of(access)
        self._known_keys: dict[bytes, tuple[Any, Access, str | None, Caller]] = {}
        """By the hash of the whole header: the state of the keys then, the settings, when it expires, and whose it is."""

    def check(self) -> None:
        """Refuse to start where nobody could come in.

        Raises:
            MlxError: Where there is no valid key, and no signed tokens are taken.
        """
        valid = [key for key in self.keys.all() if key.hash and key.state == "valid"]
        unknown = sorted({key.role for key in valid} - set(self.access.roles))
        if unknown:
            raise MlxError(
                f"a valid key in {self.keys.path} has a role that serve.access.roles lacks: {', '.join(unknown)}",
                "add it, or mlx token revoke ID",
            )
        if not valid and not self.tokens:
            raise MlxError("serve.access lets nobody in: there is no valid key", f"mlx token create --role {next(iter(self.access.roles))}")

    async def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who asks.

        Raises:
            RequestError: 401 without a good key, never telling what is wrong with it; 403 where its role is gone;
                503 where the keys cannot be read.
        """
        given = [value for key, value in headers if key.lower() == b"authorization"]
        if not given:
            raise _unknown("there is no Authorization header: send Authorization: Bearer KEY", "missing_key")
        if len(given) == 1 and (known := self._again(given[0])):
            return known
        words = given[0].decode("latin-1").split()
        if len(given) > 1 or len(words) != 2 or words[0].lower() != "bearer" or len(words[1]) > LONGEST or not words[1].isascii():
            raise _unknown("the key is not valid", "invalid_api_key")
        try:
            if not words[1].startswith(MARK):
                return await self._by_token(words[1])
            caller, expires = self._by_key(words[1])
            if len(self._known_keys) >= MOST:
                self._known_keys.clear()
            self._known_keys[sha256(given[0]).digest()] = (self.keys.mark, self.access, expires, caller)
            return caller
        except MlxError as error:
            LOG.error("%s: %s", error, error.hint)
            raise RequestError(503, "keys cannot be checked now", kind="server_error", code="keys_unavailable") from None

    def _again(self, given: bytes) -> Caller | None:
        """Who came with this very header before, as long as neither keys nor roles have changed since."""
        known = self._known_keys.get(sha256(given).digest())
        if known is None or known[0] != self.keys.look() or known[1] is not self.access:
            return None
        return None if known[2] and known[2] <= datetime.now(UTC).isoformat() else known[3]

    def _by_key(self, text: str) -> tuple[Caller, str | None]:
        key = self.keys.find(text)
        if key is None:
            raise _unknown("the key is not valid", "invalid_api_key")
        return self._known(key.id, key.name, key.role, "key"), key.expires

    async def _by_token(self, text: str) -> Caller:
        claims = await self.tokens.check(text) if self.tokens else None
        if claims is None or self.keys.revoked(str(claims.get("jti", ""))):
            raise _unknown("the key is not valid", "invalid_api_key")
        role = claims[self.access.jwt.role_claim] if self.access.jwt else ""
        return self._known(f"jwt:{claims['sub']}", str(claims["sub"]), role, "jwt")

    def _known(self, number: str, name: str, role: str, via: str) -> Caller:
        if role not in self.access.roles:
            raise RequestError(403, "the role of this key is not known here", kind="permission_error", code="unknown_role")
        return Caller(number, name, role, self.access.roles[role], "key" if via == "key" else "jwt")


def tokens_of(access: Access) -> "Tokens | None":
    """What checks signed tokens, where they are taken.

    Raises:
        MlxError: Where the secret is missing or weak.
    """
    if access.jwt is None:
        return None
    from src.serve.access.tokens import Tokens  # 9 MB, which only those need who take them

    name = access.jwt.secret_env
    return Tokens(access.jwt, strong(os.environ.get(name, "").strip(), name) if access.jwt.algorithm == "HS256" else None)


def _unknown(message: str, code: str) -> RequestError:
    return RequestError(401, message, kind="authentication_error", code=code, headers=CHALLENGE)
