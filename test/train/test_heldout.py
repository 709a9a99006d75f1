"""The held-out loss is the mean over tokens, whatever the batches."""

from array import array

import pytest


@pytest.fixture
def rows():
    from src.train.rows import Row

    return [Row(str(n), array("i", range(1, 2 + n)), array("i", [-100, *range(2, 2 + n)])) for n in (9, 1, 4, 4)]


def test_batches_hold_at_most_so_many_places(rows):
    from src.train.heldout import batches

    found = [[len(row.ids) for row in batch] for batch in batches(rows, 10)]
    assert found == [[10], [5, 5], [2]]
    assert [[len(row.ids) for row in batch] for batch in batches(rows, 1)] == [[10], [5], [5], [2]]  # none is left out


def test_rows_are_filled_up_on_the_right(rows):
    from src.train.heldout import padded

    batch = padded(rows[1:3], 0, "cpu")
    assert batch["input_ids"].tolist() == [[1, 2, 0, 0, 0], [1, 2, 3, 4, 5]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[-100, 2, -100, -100, -100], [-100, 2, 3, 4, 5]]


def test_row_counts_what_is_learned(rows):
    assert rows[0].learned == 9
