"""Near-duplicates share a split; documents with a passage in common do not melt into one."""

from collections.abc import Callable
from pathlib import Path

from src.build.candidate import Candidate
from src.build.leaks import parted
from src.build.near import join
from src.build.split import Splits, assign_evenly
from src.core.ledger import Drop
from src.core.manifest import Manifest
from src.text.minhash import jaccard, shingle_hashes
from src.text.normalise import normalise

from .conftest import dropped, rows, write_lines

WORDS = [
    f"{a}{b}"
    for a in ("ash", "birch", "cedar", "elm", "fir", "oak", "pine", "yew")
    for b in ("leaf", "bark", "root", "seed", "twig", "wood")
]


def tale(number: int, changed: int = 0) -> str:
    told = [WORDS[(number * 7 + place * (number % 5 + 1) + place * place) % len(WORDS)] + str(number) for place in range(60)]
    return " ".join([*told[: 60 - changed], *(f"other{n}" for n in range(changed))])


def row(key: str, number: int, text: str) -> Candidate:
    messages = [{"role": "user", "content": f"Tell tale {key} {number}"}, {"role": "assistant", "content": text}]
    example = {"id": f"{key}#{number}", "messages": messages, "tools": [], "label": None, "tags": ["source:chats"], "sources": [key]}
    return Candidate(example, key)  # type: ignore[arg-type]


def test_no_row_has_its_like_in_another_split(built: Callable[..., Manifest]) -> None:
    # every tale four times, each with other last words
    chats = [{"instruction": f"Tale {n}", "output": tale(n, changed)} for n in range(60) for changed in (0, 2, 4, 6)]
    manifest = built(
        sources=[{"type": "chats", "path": str(write_lines(Path("c.jsonl"), *chats))}], splits={"test": 0.2, "validation": 0.2}
    )
    assert manifest.info["near"] == {"rows": 240, "alike": 240, "documents": 240, "groups": 60} and not dropped()
    hashes = {
        split: [shingle_hashes(normalise(row["messages"][1]["content"])) for row in rows(split)]
        for split in ("train", "validation", "test")
    }
    assert all(hashes.values())
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert max(jaccard(left, right) for left in hashes[one] for right in hashes[other]) < 0.8


def test_without_it_rows_stand_for_themselves(built: Callable[..., Manifest]) -> None:
    chats = [{"instruction": f"Tale {n}", "output": tale(n, changed)} for n in range(20) for changed in (0, 2)]
    manifest = built(sources=[{"type": "chats", "path": str(write_lines(Path("c.jsonl"), *chats))}], splits={"test": 0.3, "near": None})
    assert "near" not in manifest.info and "leaks_into_test" in dropped()


def test_editions_are_one_and_a_common_passage_is_not() -> None:
    books = {"a": range(20), "b": range(5, 25), "c": [*range(40, 59), 24]}
    candidates = [row(key, number, tale(number)) for key, numbers in books.items() for number in numbers]
    found = join(candidates, 0.8)
    assert {each.example["sources"][0]: each.key for each in candidates} == {"a": "a", "b": "a", "c": "c"}
    assert found == {"rows": 60, "alike": 32, "documents": 3, "groups": 2}
    for each in candidates:
        each.split = "test" if each.key == "c" else "train"
    assert [(each.id, each.reason) for each in parted(candidates) if isinstance(each, Drop)] == [("b#24", "leaks_into_test")]


def test_one_group_of_all_is_said(built: Callable[..., Manifest], caplog) -> None:
    chats = [{"instruction": "Tale", "output": tale(1, changed)} for changed in range(6)]
    built(sources=[{"type": "chats", "path": str(write_lines(Path("c.jsonl"), *chats))}])
    assert "tie 6 of 6 rows into one group" in caplog.text


def test_too_few_for_strata_fill_every_split_all_the_same() -> None:
    from collections import Counter

    strata = {f"d{n}": Counter({"abc"[n % 3]: 1}) for n in range(4)}
    assert set(assign_evenly(strata, Splits(test=0.1, validation=0.1), 3).values()) == {"train", "validation", "test"}
