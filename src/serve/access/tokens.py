"""Signed tokens: made for a subject and a role, and checked claim by claim."""

import math
import secrets
import time
from typing import Any

import jwt

from src.serve.access.jwks import Jwks
from src.serve.access.settings import Jwt


class Tokens:
    """Checks signed tokens by one algorithm and one issuer."""

    def __init__(self, settings: Jwt, secret: str | None) -> None:
        """`secret` is that of HS256."""
        self.settings = settings
        self._secret = secret
        self._jwks = Jwks(settings.jwks_url, settings.algorithm) if settings.jwks_url else None

    def make(self, *, subject: str, role: str, days: float) -> tuple[str, str]:
        """Sign a token (HS256); return its `jti` and the token."""
        now, number = int(time.time()), secrets.token_hex(6)
        claims = {"sub": subject, "iat": now, "nbf": now, "exp": now + int(days * 86400), "jti": number}
        claims |= {"iss": self.settings.issuer, "aud": self.settings.audience, self.settings.role_claim: role}
        return number, jwt.encode(claims, self._secret or "", algorithm="HS256")

    async def check(self, text: str) -> dict[str, Any] | None:
        """The claims of a token that is good now, or None.

        Raises:
            MlxError: Where its issuer's keys were never had.
        """
        try:
            key = self._secret if self._jwks is None else await self._jwks.key(_name(text))
            if not key:
                return None
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=[self.settings.algorithm],
                audience=self.settings.audience,
                issuer=self.settings.issuer,
                leeway=self.settings.leeway,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        return claims if self._sound(claims) else None

    def _sound(self, claims: dict[str, Any]) -> bool:
        """What PyJWT lets pass: text for a number, a life of a thousand years, a role that is a list."""
        ends, role, number = claims["exp"], claims.get(self.settings.role_claim), claims.get("jti", "")
        if isinstance(ends, bool) or not isinstance(ends, int | float) or not math.isfinite(ends):
            return False
        near = ends - time.time() <= self.settings.max_days * 86400 + self.settings.leeway
        return near and all(isinstance(each, str) for each in (claims["sub"], role, number)) and 0 < len(claims["sub"]) <= 200


def _name(text: str) -> str:
    name = jwt.get_unverified_header(text).get("kid")
    return name if isinstance(name, str) else ""
