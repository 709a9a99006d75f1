"""Splits by document, and what may not stand in two of them."""

from collections import Counter

import pytest

from src.build.candidate import Candidate
from src.build.leaks import parted
from src.build.split import Splits, assign

LONG = "a long answer that nobody would give twice in the very same words at all"


def row(name: str, split: str, ask: str, answer: str = "Yes", *, decided: bool = False) -> Candidate:
    messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    return Candidate(
        {"id": name, "messages": messages, "tools": [], "label": None, "tags": [], "sources": []}, name, split, decided=decided
    )


def test_few_documents_fill_every_split() -> None:
    sizes = {f"book{n}": size for n, size in enumerate([400, 350, 300, 580, 520, 310, 140, 230])}
    for seed in range(20):
        given = assign(sizes, Splits(), seed)
        rows = Counter()
        for key, split in given.items():
            rows[split] += sizes[key]
        assert set(rows) == {"train", "validation", "test"}
        assert rows["train"] > 0.6 * sum(sizes.values())


@pytest.mark.parametrize(("count", "expected"), [(0, set()), (1, {"train"}), (2, {"train", "test"}), (3, {"train", "validation", "test"})])
def test_very_few(count: int, expected: set[str]) -> None:
    assert set(assign({str(n): 5 for n in range(count)}, Splits(), 1).values()) == expected


def test_no_share_no_split() -> None:
    assert set(assign({str(n): 5 for n in range(50)}, Splits(validation=0, test=0), 1).values()) == {"train"}


def test_of_many_documents_a_new_one_moves_no_old_one() -> None:
    sizes = {str(n): 1 for n in range(2000)}
    before, after = assign(sizes, Splits(), 1), assign(sizes | {"new": 1}, Splits(), 1)
    assert all(after[key] == split for key, split in before.items())
    assert Counter(before.values())["test"] == pytest.approx(200, rel=0.3)
    assert Counter(before.values())["validation"] == pytest.approx(100, rel=0.4)


def test_another_seed_another_split() -> None:
    sizes = {str(n): 1 for n in range(30)}
    assert assign(sizes, Splits(), 1) != assign(sizes, Splits(), 2)


def names(rows: list[Candidate]) -> dict[str, str]:
    found = {}
    for item in parted(rows):
        found[item.example["id"] if isinstance(item, Candidate) else item.id] = "" if isinstance(item, Candidate) else item.reason
    return found


def test_what_the_test_holds_goes_from_training() -> None:
    rows = [
        row("a", "train", "Hi “there”"),
        row("b", "test", 'hi "there"', "No"),
        row("c", "train", "x", LONG),
        row("d", "validation", "y", LONG.upper()),
    ]
    assert names(rows) == {"a": "leaks_into_test", "b": "", "c": "leaks_into_validation", "d": ""}


def test_validation_gives_way_to_the_test() -> None:
    assert names([row("a", "validation", "Hi"), row("b", "test", "Hi", "No")]) == {"a": "leaks_into_test", "b": ""}


def test_short_answers_are_no_leak() -> None:
    assert names([row("a", "train", "x"), row("b", "test", "y")]) == {"a": "", "b": ""}


def test_the_same_row_twice() -> None:
    assert names([row("a", "train", "x"), row("b", "train", "x"), row("c", "train", "x", "No")]) == {"a": "", "b": "duplicate", "c": ""}


def test_a_source_that_splits_itself_is_trusted() -> None:
    assert names([row("a", "train", "x", decided=True), row("b", "test", "x", "No", decided=True)]) == {"a": "", "b": ""}


def test_half_an_answer_word_for_word_is_a_leak() -> None:
    told = [f"word{n}" for n in range(120)]
    held, shifted, apart = " ".join(told[:80]), " ".join(told[20:100]), " ".join(told[70:])
    rows = [row("a", "train", "x", shifted), row("b", "train", "y", apart), row("c", "test", "z", held)]
    found = {item.id: item for item in parted(rows) if not isinstance(item, Candidate)}
    assert list(found) == ["a"]
    assert found["a"].reason == "leaks_into_test" and found["a"].detail == "c and others: 71% of its runs of 13 words"
