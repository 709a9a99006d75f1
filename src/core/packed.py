"""Records and drops as lines of JSON, for files of unfinished work and between processes."""

import json
from typing import Any

from src.core.files import to_json
from src.core.ledger import Drop
from src.core.records import Record


def pack(item: Record | Drop) -> bytes:
    """One line; what the quick writer cannot hold, such as a lone surrogate, goes the slow way, behind a blank."""
    import orjson  # here, since what starts light imports this module

    values = ["drop", item.id, item.reason, item.detail, item.row] if isinstance(item, Drop) else ["keep", item.id, item.text, item.meta]
    try:
        return orjson.dumps(values, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return b" " + to_json(values).encode() + b"\n"


def unpack(line: bytes) -> Record | Drop:
    """What a line holds."""
    import orjson

    values: list[Any] = json.loads(line) if line.startswith(b" ") else orjson.loads(line)
    return Drop(*values[1:]) if values[0] == "drop" else Record(*values[1:])
