"""The settings of `serve.access`: who is let in, as what, and within which limits."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from src.core.config import Config

Count = Annotated[int, Field(ge=1)]
Route = Annotated[str, Field(pattern=r"^/")]

OWN = ("/v1/budget",)
"""Paths that every role may call: they tell callers about nobody but themselves."""


class Role(Config):
    """What those of one role may do; what is unset has no limit."""

    models: tuple[str, ...] = ("*",)
    """Models that may be asked, by the name that clients use; "*" is any."""
    routes: tuple[Route, ...] = ("/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/classify")
    """Paths that may be called; one that ends in /* takes all below it."""
    requests_per_minute: Count | None = None
    """Requests in any 60 seconds, per key."""
    tokens_per_minute: Count | None = None
    """Tokens, of questions and answers, in any 60 seconds, per key."""
    tokens_per_day: Count | None = None
    """Tokens in a day (UTC), per key."""
    concurrent: Count | None = None
    """Requests at once, per key."""

    @property
    def limited(self) -> bool:
        """Whether anything is counted."""
        return any((self.requests_per_minute, self.tokens_per_minute, self.tokens_per_day, self.concurrent))

    def may_call(self, path: str) -> bool:
        """Whether `path` is among the routes."""
        return path in OWN or any(path == route or (route.endswith("/*") and path.startswith(route[:-1])) for route in self.routes)

    def may_ask(self, model: str) -> bool:
        """Whether `model` may be asked."""
        return "*" in self.models or model in self.models


class Jwt(Config):
    """Signed tokens of another party, or of `mlx token create --jwt`."""

    algorithm: Literal["HS256", "RS256", "PS256", "ES256", "EdDSA"] = "HS256"
    """The one algorithm that is taken; what a token says about itself chooses nothing."""
    secret_env: str = "MLX_JWT_SECRET"  # noqa: S105 (a name)
    """Environment variable with the secret of HS256: 32 random bytes or more."""
    jwks_url: str | None = None
    """Where the issuer publishes its keys, for all algorithms but HS256."""
    issuer: str = Field(default="mlx", min_length=1)
    """What `iss` has to say."""
    audience: str = Field(default="mlx", min_length=1)
    """What `aud` has to hold."""
    role_claim: str = Field(default="role", min_length=1)
    """Claim that names the role."""
    leeway: int = Field(default=10, ge=0, le=120)
    """Seconds by which clocks may differ."""
    max_days: float = Field(default=90, gt=0)
    """Longest time that a token may still be valid, whatever it says."""

    @model_validator(mode="after")
    def _has_keys(self) -> "Jwt":
        if (self.algorithm == "HS256") != (self.jwks_url is None):
            raise ValueError("HS256 takes its secret from the environment, all other algorithms take their keys from jwks_url")
        url = urlsplit(self.jwks_url or "https://unused")
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in ("localhost", "127.0.0.1", "::1")):
            raise ValueError("jwks_url has to be https: whoever changes the keys on their way lets anybody in")
        return self


class MemoryLimits(Config):
    """Counts in the server's process: exact for one server, and begun anew when it starts."""

    type: Literal["memory"] = "memory"


class RedisLimits(Config):
    """Counts in Redis: exact over all servers that share it, and kept when they start again. Needs the extra `redis`."""

    type: Literal["redis"] = "redis"
    url_env: str = "REDIS_URL"
    """Environment variable with its address, as redis://:password@host:6379/0."""
    when_down: Literal["refuse", "allow"] = "refuse"
    """Without Redis: refuse all requests with 503, or let all in uncounted."""
    prefix: str = "mlx"
    """Put before the names of its keys."""
    timeout: float = Field(default=1.0, gt=0)
    """Seconds after which Redis counts as down."""
    lease: int = Field(default=900, ge=1)
    """Seconds after which a request of a server that died no longer counts as under way."""


class Audit(Config):
    """The log of who did what: append-only, each line sealed with the one before."""

    fsync: Literal["line", "second", "never"] = "second"
    """When lines are forced to the disk: each, once a second, or by the system. kill -9 loses none of them in any case; a power cut may."""
    key_env: str | None = "MLX_AUDIT_KEY"
    """Environment variable with a key: set, nobody without it can write a chain that verifies."""


class Access(Config):
    """Who may use the server: keys of `mlx token create`, signed tokens, and what each role may do."""

    roles: dict[str, Role] = Field(min_length=1)
    """What each role may do."""
    jwt: Jwt | None = None
    """Take signed tokens too."""
    limits: Annotated[MemoryLimits | RedisLimits, Field(discriminator="type")] = MemoryLimits()
    """Where requests and tokens are counted."""
    audit: Audit | None = Audit()
    """Write down who did what, without a word of what was said; null writes nothing."""
    public: tuple[Route, ...] = ("/health", "/health/live", "/health/ready")
    """Paths that need no key."""
    keys: Path | None = None
    """Folder of the keys, for several servers that share it; beside the server's other output if unset."""
    wrong_keys_per_minute: Count | None = 60
    """Wrong keys in any 60 seconds from one address, after which it is told to wait, right keys included."""

    def keys_at(self, output: Path) -> Path:
        """Folder of the keys of the server that writes to `output`."""
        return self.keys or output
