"""Who asks: what is known of a client once its key or token is found good."""

from dataclasses import dataclass
from typing import Literal

from src.serve.access.settings import Role


@dataclass(frozen=True)
class Caller:
    """Somebody who is let in."""

    id: str
    """What limits are counted by and the audit log names: a key's id, or `jwt:` and the subject."""
    name: str
    role_name: str
    role: Role
    via: Literal["key", "jwt"]
