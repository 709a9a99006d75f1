"""A largest matching, whatever the order."""

from itertools import permutations

import pytest

from src.eval.pairing import pairing


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_each_gets_a_partner_where_all_can(order):
    fits = [[True, True, True], [True, True, False], [True, False, False]]
    partners = pairing([fits[place] for place in order])
    assert sorted(partners) == [0, 1, 2]
    assert all(fits[place][column] for place, column in zip(order, partners, strict=True))


def test_who_cannot_be_paired_is_alone():
    assert pairing([[True], [True]]) == [0, None]
    assert pairing([[False, False]]) == [None]
    assert pairing([]) == []
