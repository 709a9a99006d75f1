"""Kernels that find near-duplicates among sketches: keys that occur twice, exact Jaccard of a pair, groups that grow by union."""

import numpy as np

from src.text.jit import helper, kernel, load32

U32 = np.uint32
U64 = np.uint64
CAP = 64
"""Members of a bucket that each further one is compared with: a template shared by thousands stays affordable."""
SLACK = 1e-9


@kernel("i8(u8*, u1*, u8*, u8*, i8*)")
def repeated(keys, wanted, once, twice, out):  # type: ignore[no-untyped-def]
    """Find the wanted keys that occur more than once, and a few others, by two bitmaps in place of a sort; how many.

    The bitmaps hold zeros and a power of two of words.
    """
    mask = U64(once.size * 64 - 1)
    for place in range(keys.size):
        if wanted[place]:
            low = keys[place] & mask
            bit = U64(1) << (low & U64(63))
            word = low >> U64(6)
            if once[word] & bit:
                twice[word] |= bit
            else:
                once[word] |= bit
    count = 0
    for place in range(keys.size):
        if wanted[place]:
            low = keys[place] & mask
            if twice[low >> U64(6)] & U64(1) << (low & U64(63)):
                out[count] = place
                count += 1
    return count


@helper
def root(parents, member):  # type: ignore[no-untyped-def]
    """The name of a member's group; the way there is halved."""
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member


@helper
def likeness(one, one_size, other, other_size, values, marks, epoch):  # type: ignore[no-untyped-def]
    """Exact Jaccard of two sets of n-gram hashes that lie at addresses, repeats allowed, by a hash table that is never emptied.

    Args:
        one: Address of the first.
        one_size: How many hashes it has.
        other: Address of the second.
        other_size: How many hashes it has.
        values: Table: at least twice as many places as there are hashes, a power of two. Small pairs use its beginning only.
        marks: Table: in which epoch a place was filled; its lowest bit is set where the second set has the value too.
        epoch: A number greater than at any call with this table before.
    """
    bits = U64(58)
    while U64(2 * (one_size + other_size)) >> (U64(64) - bits):
        bits -= U64(1)
    mask = np.int64((U64(1) << (U64(64) - bits)) - U64(1))
    first = second = shared = 0
    for place in range(one_size):
        value = load32(one + 4 * place)
        at = np.int64(U64(value) * U64(0x9E3779B97F4A7C15) >> bits) & mask
        while marks[at] >> 1 == epoch and values[at] != value:
            at = (at + 1) & mask
        if marks[at] >> 1 != epoch:
            marks[at] = epoch << 1
            values[at] = value
            first += 1
    for place in range(other_size):
        value = load32(other + 4 * place)
        at = np.int64(U64(value) * U64(0x9E3779B97F4A7C15) >> bits) & mask
        while marks[at] >> 1 == epoch and values[at] != value:
            at = (at + 1) & mask
        if marks[at] >> 1 != epoch:
            marks[at] = epoch << 1 | 1
            values[at] = value
            second += 1
        elif marks[at] == epoch << 1:
            marks[at] = epoch << 1 | 1
            shared += 1
    return shared / (first + second) if first + second else 1.0


@kernel("(i8*, i8*, i8*, i8*, f8*, u4*, i8*)")
def likenesses(ones, others, addresses, sizes, out, values, marks):  # type: ignore[no-untyped-def]
    """Exact Jaccard of each pair; the members are places in `addresses` and `sizes`, the table is fresh."""
    for place in range(ones.size):
        a, b = ones[place], others[place]
        out[place] = likeness(addresses[a], sizes[a], addresses[b], sizes[b], values, marks, place + 1)


@kernel("i8(u8*, i8*, i8*, f8, i8, i8*, i8*, i8*, f8*, u4*, i8*)")
def verify(keys, addresses, sizes, threshold, cap, parents, ones, others, found, values, marks):  # type: ignore[no-untyped-def]
    """Join the members of each bucket that are alike, each tried against the earlier ones that are not yet of its group.

    To try one representative only would miss pairs that reach each other through another member.

    Args:
        keys: In rising order; a bucket is a run of equal ones.
        addresses: Of each member's n-gram hashes.
        sizes: How many those are.
        threshold: Least Jaccard of two that are joined.
        cap: Members that each further one is tried against.
        parents: Of each member an earlier one of its group, or itself; and one place more, where the number of compared pairs goes.
        ones: Out: first of each joined pair.
        others: Out: second of each.
        found: Out: their Jaccard.
        values: Scratch, see `likeness`.
        marks: Scratch, fresh.

    Returns:
        How many pairs were joined.
    """
    total = keys.size
    joined = compared = np.int64(0)
    start = np.int64(0)
    while start < total:
        end = start + 1
        while end < total and keys[end] == keys[start]:
            end += 1
        for member in range(start + 1, end):
            mine = root(parents, member)
            for earlier in range(start, min(member, start + cap)):
                other = root(parents, earlier)
                if other == mine:
                    continue
                compared += 1
                alike = likeness(addresses[earlier], sizes[earlier], addresses[member], sizes[member], values, marks, compared)
                if alike >= threshold - SLACK:
                    ones[joined] = earlier
                    others[joined] = member
                    found[joined] = alike
                    joined += 1
                    parents[max(other, mine)] = min(other, mine)
                    mine = min(other, mine)
        start = end
    parents[total] = compared
    return joined


@kernel("(i8*, i8*, i8*)")
def unite(parents, ones, others):  # type: ignore[no-untyped-def]
    """Make one group of the groups of each pair, named by its lowest member."""
    for place in range(ones.size):
        a, b = root(parents, ones[place]), root(parents, others[place])
        parents[max(a, b)] = min(a, b)


@kernel("(i8*)")
def flatten(parents):  # type: ignore[no-untyped-def]
    """Let every member name its group directly."""
    for member in range(parents.size):
        parents[member] = parents[parents[member]]


@kernel("(i8*, i8*, f8*, u8*, i8*, f8*)")
def closest(ones, others, alike, contents, partners, best):  # type: ignore[no-untyped-def]
    """Keep for each member of a pair the partner most like it; of equally like ones that of the lower content hash."""
    for place in range(ones.size):
        for turn in range(2):
            a, b = (ones[place], others[place]) if turn == 0 else (others[place], ones[place])
            better = alike[place] > best[a]
            if better or (alike[place] == best[a] and contents[b] < contents[partners[a]]):
                partners[a] = b
                best[a] = alike[place]
