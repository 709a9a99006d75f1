"""Makes the guard of a server from its settings, or says why it would guard nothing."""

import os
from pathlib import Path

from src.core.errors import MlxError
from src.serve.access.audit import AuditLog, audit_key
from src.serve.access.door import Guard
from src.serve.access.identify import Identify
from src.serve.access.limits import Limits
from src.serve.access.memory_limits import InMemory
from src.serve.access.settings import Access, MemoryLimits, RedisLimits

AUDIT = "audit"


def open_guard(access: Access, folder: Path) -> Guard:
    """Make the guard; keys and audit log lie in `folder`.

    Raises:
        MlxError: Where a secret is missing or weak, or nobody could come in.
    """
    identify = Identify(access, folder)
    identify.check()
    limits = _limits(access.limits)
    audit = access.audit
    return Guard(identify, limits, AuditLog(folder / AUDIT, key=audit_key(audit.key_env), fsync=audit.fsync) if audit else None)


def check(access: Access, folder: Path) -> None:
    """Refuse what `open_guard` would refuse, without opening anything.

    Raises:
        MlxError: As it does.
    """
    Identify(access, folder).check()
    _limits(access.limits)
    if access.audit:
        audit_key(access.audit.key_env)


def _limits(settings: MemoryLimits | RedisLimits) -> Limits:
    if isinstance(settings, MemoryLimits):
        return InMemory()
    address = os.environ.get(settings.url_env, "").strip()
    if not address:
        raise MlxError(
            f"{settings.url_env} is not set, and serve.access.limits counts in Redis", "add it to .env, as redis://127.0.0.1:6379/0"
        )
    from src.serve.access.redis_limits import InRedis

    return InRedis(settings, address)
