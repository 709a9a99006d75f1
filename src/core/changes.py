"""Say what differs between two settings, key by key."""

from collections.abc import Iterator
from typing import Any


def changes(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """Yield `key: old → new` for each leaf of `after` that is another in `before`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for each in {**before, **after}:
            if each in after:  # what is only in the older one is cosmetic, or gone
                yield from changes(before.get(each), after[each], f"{key}.{each}".lstrip("."))
    elif before != after:
        yield f"{key}: {before} → {after}"
