"""Tags that rows bring along: who speaks, how, about what, on which device; checked against the project's vocabulary."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from src.core.errors import did_you_mean

Key = Literal["persona", "tone", "domain", "source", "device"]
KEYS: tuple[Key, ...] = ("persona", "tone", "domain", "source", "device")
MADE = ("kind", "shape", "tool", "unseen")
"""Keys of tags that sources of ours set."""
Vocabulary = Mapping[Key, tuple[str, ...]]


def tags_of(row: Mapping[str, Any], given: Mapping[Key, str]) -> list[str]:
    """Tags of a row as `key:value`: of its keys `persona`, `tone`, `domain`, `source`, `device`, of its list `tags`; `given` goes first."""
    found = {f"{key}:{given.get(key, row.get(key))}": None for key in KEYS if isinstance(given.get(key, row.get(key)), str | int)}
    listed = row.get("tags")
    for tag in listed if isinstance(listed, list) else ():
        if isinstance(tag, str) and tag.partition(":")[0] not in given:
            found[tag] = None
    return list(found)


def unknown_tag(tags: Iterable[str], vocabulary: Vocabulary) -> str:
    """Say which tag the vocabulary does not have, and which is meant; an empty text where all are known."""
    return next(_unknown(tags, vocabulary), "") if vocabulary else ""


def _unknown(tags: Iterable[str], vocabulary: Vocabulary) -> Iterator[str]:
    for tag in tags:
        key, colon, value = tag.partition(":")
        if not colon or key in MADE:
            continue
        if key not in KEYS:
            yield f"{tag!r}: no key {key!r}{did_you_mean(key, KEYS)}"
        elif (known := vocabulary.get(key)) and value not in known:
            yield f"{tag!r}{did_you_mean(value, known)}"


def value_of(example: Mapping[str, Any], key: str) -> str:
    """What an example is by `label` or by a tag's key; empty where it says nothing."""
    if key == "label":
        return "" if example.get("label") is None else str(example["label"])
    # the first tag of all names the kind of source; one's own comes after it
    tags = [tag for tag in example.get("tags") or () if tag.startswith(f"{key}:")]
    return tags[-1].partition(":")[2] if tags else ""
