import random

import numpy as np

from src.text.buckets import closest, flatten, likenesses, repeated, unite, verify


def laid_out(sets):
    """Where the members of each set lie."""
    flat = np.concatenate([np.array(list(each), np.uint32) for each in sets] or [np.zeros(0, np.uint32)])
    sizes = np.array([len(each) for each in sets], np.int64)
    return flat, flat.ctypes.data + 4 * (np.cumsum(sizes) - sizes), sizes


def table(size=1 << 14):
    return np.zeros(size, np.uint32), np.zeros(size, np.int64)


def jaccard(one, other):
    one, other = set(one), set(other)
    return len(one & other) / len(one | other) if one | other else 1.0


def test_likeness_is_that_of_the_sets_with_repeats_and_colliding_values():
    rng = random.Random(1)
    sets = [rng.choices(range(rng.choice([5, 100, 2**32 - 1])), k=rng.randint(0, 200)) for _ in range(100)]
    flat, addresses, sizes = laid_out(sets)
    ones, others = np.array([rng.randrange(100) for _ in range(2000)]), np.array([rng.randrange(100) for _ in range(2000)])
    out = np.empty(2000)
    likenesses(ones, others, addresses, sizes, out, *table(1 << 10))
    assert out.tolist() == [jaccard(sets[a], sets[b]) for a, b in zip(ones, others, strict=True)]
    assert len(flat)


def test_sets_of_a_million_do_not_overflow():
    one = np.arange(1_000_000, dtype=np.uint32) * np.uint32(2654435761)
    _flat, addresses, sizes = laid_out([one, one[:800_000]])
    out = np.empty(1)
    likenesses(np.array([0]), np.array([1]), addresses, sizes, out, *table(1 << 22))
    assert out[0] == 0.8


def test_repeated_keys_are_found_all_and_others_seldom():
    rng = np.random.default_rng(2)
    keys = rng.integers(0, 2**64, 10_000, dtype=np.uint64)
    keys[rng.integers(0, 10_000, 500)] = keys[rng.integers(0, 10_000, 500)]
    wanted = rng.random(10_000) < 0.9
    out = np.empty(10_000, np.int64)
    once, twice = np.zeros(4096, np.uint64), np.zeros(4096, np.uint64)
    found = set(out[: repeated(keys, wanted, once, twice, out)].tolist())
    values, counts = np.unique(keys[wanted], return_counts=True)
    true = set(np.flatnonzero(wanted & np.isin(keys, values[counts > 1])).tolist())
    assert true <= found
    assert len(found) < len(true) + 1500


def verified(keys, sets, threshold=0.8, cap=64, groups=None):
    flat, addresses, sizes = laid_out(sets)
    ones, others, alike = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64), np.empty(len(keys))
    parents = np.append(groups if groups is not None else np.arange(len(keys)), 0)
    joined = verify(np.array(keys, np.uint64), addresses, sizes, threshold, cap, parents, ones, others, alike, *table())
    assert len(flat)
    compared = int(parents[-1])
    return list(zip(ones[:joined].tolist(), others[:joined].tolist(), alike[:joined].tolist(), strict=True)), compared


def test_only_members_of_a_bucket_that_are_alike_are_joined():
    base = list(range(100))
    joined, compared = verified([1, 1, 1, 2, 2, 3], [base, base[:90], list(range(200, 300)), base, base[10:], base])
    assert joined == [(0, 1, 0.9), (3, 4, 0.9)]
    assert compared == 4


def test_members_of_one_group_are_not_compared_again():
    base = list(range(100))
    joined, compared = verified([1, 1, 1], [base, base[:90], base[:89]], groups=[0, 1, 0])
    assert joined == [(0, 1, 0.9)]
    assert compared == 1


def test_a_member_reaches_another_through_a_third():
    joined, _ = verified([1, 1, 1], [range(100), range(15, 115), range(8, 108)])
    assert {(a, b) for a, b, _ in joined} == {(0, 2), (1, 2)}


def test_a_bucket_of_strangers_costs_no_square():
    sets = [[number * 10 + digit for digit in range(5)] for number in range(300)]
    assert verified([7] * 300, sets, cap=4)[1] < 300 * 4


def test_groups_are_named_by_their_lowest_member_and_partners_by_likeness_then_content():
    parents = np.arange(6)
    unite(parents, np.array([4, 2, 5]), np.array([2, 1, 4]))
    flatten(parents)
    assert parents.tolist() == [0, 1, 1, 3, 1, 1]
    partners, best = np.arange(4), np.zeros(4)
    contents = np.array([9, 5, 3, 7], np.uint64)
    closest(np.array([0, 0, 0]), np.array([1, 2, 3]), np.array([0.9, 0.9, 0.85]), contents, partners, best)
    assert partners.tolist() == [2, 0, 0, 0]
    assert best.tolist() == [0.9, 0.9, 0.9, 0.85]
