"""Pair things off where it matters who goes with whom: parallel calls have no order, and a greedy choice can waste a partner."""

from collections.abc import Sequence


def pairing(fits: Sequence[Sequence[bool]]) -> list[int | None]:
    """The partner of each row in a largest matching of rows and columns; None where a row has none (augmenting paths, Kuhn 1955)."""
    owner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in (each for each, good in enumerate(fits[row]) if good and each not in tried):
            tried.add(column)
            if column not in owner or place(owner[column], tried):
                owner[column] = row
                return True
        return False

    for row in range(len(fits)):
        place(row, set())
    partners = {row: column for column, row in owner.items()}
    return [partners.get(row) for row in range(len(fits))]
