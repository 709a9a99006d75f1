import random
from pathlib import Path

import pytest

from src.core.files import read_jsonl
from src.core.records import Record
from src.core.tables import read_records, write_records
from src.dedup import dedup
from src.dedup.links import waves
from src.text.minhash import jaccard, shingle_hashes
from src.text.normalise import normalise

WORDS = [f"w{number:x}" for number in range(20000)]
TEXT = " ".join(WORDS[:100])


def run(records, *overrides):
    Path("p.yaml").write_text("name: p\ndedup: {input: in.parquet}\n")
    write_records(Path("in.parquet"), records)
    manifest = dedup(dedup.load("p.yaml", *overrides), force=True)
    kept = list(read_records(Path("data/p/dedup")))
    dropped = Path("data/p/dedup/dropped.jsonl")
    drops = {row["id"]: row for row in read_jsonl(dropped)} if dropped.exists() else {}
    assert manifest.counts["read"] == len(records) == len(kept) + len(drops)
    return kept, drops, manifest


def ids(records):
    return [record.id for record in records]


def test_equal_but_for_case_and_white_space_is_an_exact_duplicate():
    records = [Record("f:2", "“Hello”  World", {"n": 1}), Record("f:1", '"hello" world\n'), Record("f:3", "hello, world")]
    kept, drops, manifest = run(records)
    assert kept == [records[1], records[2]]
    assert drops["f:2"]["reason"] == "exact_duplicate"
    assert drops["f:2"]["detail"].startswith("of f:1: Jaccard 1, cluster ")
    assert drops["f:2"]["row"] == {"id": "f:2", "text": "“Hello”  World", "meta": {"n": 1}}
    assert manifest.counts["reasons"] == {"exact_duplicate": 1}


def test_a_near_duplicate_names_the_longer_one_that_stays_and_how_alike_it_is():
    kept, drops, manifest = run([Record("b", TEXT), Record("a", TEXT + " and more"), Record("c", " ".join(WORDS[200:300]))])
    assert ids(kept) == ["a", "c"]
    assert drops["b"]["reason"] == "near_duplicate"
    assert drops["b"]["detail"].startswith("of a: Jaccard 0.980, cluster ")
    assert manifest.info["clusters"] == 1
    assert manifest.info["largest_cluster"] == 2


def test_the_first_stays_where_asked_for():
    kept, drops, _ = run([Record("b", TEXT), Record("a", TEXT + " and more")], "dedup.keep=first")
    assert ids(kept) == ["b"]
    assert "of b:" in drops["a"]["detail"]


def test_a_chain_keeps_one_and_tells_through_which_row_another_went():
    texts = {f"r{start}": " ".join(WORDS[start : start + 100 - start]) for start in (0, 10, 20, 30)}
    kept, drops, _ = run([Record(name, text) for name, text in texts.items()])
    assert ids(kept) == ["r0"]
    assert "of r0: Jaccard 0.688 through r20 with 0.868, cluster" in drops["r30"]["detail"]
    assert len({drop["detail"].rpartition("cluster ")[2] for drop in drops.values()}) == 1


@pytest.mark.parametrize("bands", [1, 2, 3, 14, 21, 126])
def test_each_band_is_searched_once_behind_at_least_half_of_those_before(bands):
    found = waves(bands)
    assert [band for wave in found for band in wave] == list(range(bands))
    assert all(len(wave) <= wave.start + 1 for wave in found)


def test_what_one_band_has_joined_no_later_one_compares():
    family = [Record(f"r{number}", " ".join([*WORDS[:200], WORDS[300 + number]])) for number in range(8)]
    _, drops, manifest = run(family)
    assert len(drops) == 7
    assert manifest.info["pairs_compared"] == 7


def test_an_equal_of_a_near_duplicate_goes_too():
    kept, drops, _ = run([Record("a", TEXT), Record("b", TEXT.upper()), Record("c", TEXT + " more")])
    assert ids(kept) == ["c"]
    assert {drop["reason"] for drop in drops.values()} == {"near_duplicate"}


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (("dedup.near=false",), ["a", "c"]),
        (("dedup.exact=false",), ["c"]),
        (("dedup.exact=false", "dedup.near=false"), ["a", "b", "c"]),
        (("dedup.threshold=0.99",), ["a", "c"]),
    ],
)
def test_either_kind_may_be_left_alone(overrides, kept):
    long = TEXT + " and more"
    got, _, _ = run([Record("a", TEXT), Record("b", TEXT.upper()), Record("c", long)], *overrides)
    assert ids(got) == kept


def test_unless_exact_is_asked_for_equals_of_the_one_that_stays_stay():
    kept, drops, _ = run([Record("a", TEXT), Record("b", TEXT.upper()), Record("c", " ".join(WORDS[5:100]))], "dedup.exact=false")
    assert ids(kept) == ["a", "b"]
    assert drops["c"]["reason"] == "near_duplicate"


def corpus(seed):
    rng = random.Random(seed)
    records = []
    for family in range(60):
        first = rng.choices(WORDS, k=rng.randint(3, 150))
        for member in range(rng.randint(1, 5)):
            other = list(first)
            for place in rng.sample(range(len(first)), rng.randint(0, min(3, len(first)))):
                other[place] = rng.choice(WORDS)
            records.append(Record(f"{family}.{member}", " ".join(other)))
    return records


def test_no_row_goes_without_a_partner_over_the_threshold_and_none_that_stays_has_one():
    records = corpus(1)
    kept, drops, _ = run(records)
    hashes = {record.id: shingle_hashes(normalise(record.text)) for record in records}
    assert len(drops) > 40
    for name in drops:
        assert any(jaccard(hashes[name], hashes[other]) >= 0.8 for other in hashes if other != name)
    pairs = [(a.id, b.id) for a in kept for b in kept if a.id < b.id and jaccard(hashes[a.id], hashes[b.id]) >= 0.8]
    assert len(pairs) <= 1


def test_the_order_of_the_rows_changes_nothing():
    records = corpus(2)
    kept, drops, _ = run(records)
    assert ids(kept) == [record.id for record in records if record.id not in drops]
    shuffled = list(records)
    random.Random(3).shuffle(shuffled)
    kept_again, drops_again, _ = run(shuffled)
    assert ids(kept_again) == [record.id for record in shuffled if record.id not in drops]
    assert drops_again == drops


def test_one_run_is_like_another():
    assert run(corpus(4))[2].fingerprint == run(corpus(4))[2].fingerprint


def test_whole_books_and_nothing_at_all():
    rng = random.Random(5)
    book = rng.choices(WORDS, k=50_000)
    records = [Record("book", " ".join(book)), Record("reprint", " ".join(book[:-2000])), Record("empty", ""), Record("blank", " \n")]
    kept, drops, _ = run(records)
    assert ids(kept) == ["book", "blank"]
    assert {name: drop["reason"] for name, drop in drops.items()} == {"reprint": "near_duplicate", "empty": "exact_duplicate"}
    assert run([])[0] == []
