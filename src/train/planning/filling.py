"""How full the sequences are, with packing and without."""

from collections.abc import Sequence

from src.train.planning.histogram import Histogram


def packed(lengths: Sequence[tuple[int, int]], sequence: int) -> int:
    """Number of sequences that best-fit-decreasing packing needs, as TRL packs.

    Args:
        lengths: Length and number of rows of it, longest first; none over `sequence`.
        sequence: Places in a sequence.
    """
    bins: dict[int, int] = {}  # open sequences by the places left
    left = 0  # the same as bits, so that the tightest fit is found at once
    made = 0
    for length, count in lengths:
        waiting = count
        while waiting:
            fitting = left >> length
            if not fitting:  # new sequences, each filled with as many rows of this length as it holds
                each = min(sequence // length, waiting)
                many = max(1, waiting // each)
                made, rest = made + many, sequence - each * length
                waiting -= many * each
                bins[rest] = bins.get(rest, 0) + many
                left |= 1 << rest
                continue
            places = length + (fitting & -fitting).bit_length() - 1
            many = min(bins[places], waiting)
            waiting -= many
            bins[places] -= many
            if not bins[places]:
                left &= ~(1 << places)
            bins[places - length] = bins.get(places - length, 0) + many
            left |= 1 << (places - length)
    return made


def packing_share(rows: Histogram, sequence: int) -> float:
    """Share of the places of packed sequences that hold a token."""
    made = packed(rows.lengths, sequence)
    return rows.tokens / (made * sequence) if made else 1.0


def padding_share(rows: Histogram, batch: int) -> float:
    """Share of the places that are padding where `batch` random rows are padded to the longest of them."""
    if not rows.rows:
        return 0.0
    expected, below = 0.0, 0.0
    for length, count in reversed(rows.lengths):
        upto = below + count / rows.rows
        expected += length * (upto**batch - below**batch)
        below = upto
    return 1 - rows.tokens / rows.rows / expected
