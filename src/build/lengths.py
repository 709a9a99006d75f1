"""How long the examples are: what a plan of memory and time is reckoned from."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from src.build.candidate import Candidate
from src.build.split import SPLITS

BINS = 64
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def lengths(rows: Sequence[Candidate], *, exact: bool) -> dict[str, Any]:
    """Count tokens per row in bins of one width.

    Returns:
        `exact` (false where tokens were estimated), `width` of a bin in tokens (bin i holds lengths from i × width to below
        (i + 1) × width), and by split `counts` per bin, `rows`, `tokens`, `trained`, quantiles `p50`, `p90`, `p99` and the `longest`.
    """
    width = max(1, math.ceil((max((row.tokens for row in rows), default=0) + 1) / BINS))
    found = {row.split for row in rows}
    splits = [split for split in SPLITS if split in found]
    return {"exact": exact, "width": width, "splits": {split: _of_split((r for r in rows if r.split == split), width) for split in splits}}


def _of_split(rows: Iterable[Candidate], width: int) -> dict[str, Any]:
    found = list(rows)
    sizes = sorted(row.tokens for row in found)
    counts = [0] * (sizes[-1] // width + 1 if sizes else 0)
    for size in sizes:
        counts[size // width] += 1
    quantiles = {name: sizes[max(0, math.ceil(place * len(sizes)) - 1)] for name, place in _QUANTILES.items()} if sizes else {}
    return {
        "counts": counts,
        "rows": len(sizes),
        "tokens": sum(sizes),
        "trained": sum(row.trained for row in found),
        **quantiles,
        "longest": sizes[-1] if sizes else 0,
    }
