"""Texts with a class: from CSV, JSON lines, Parquet and records; what is no example says why."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from src.build.candidate import Candidate
from src.build.classes import Classes
from src.core.errors import ConfigError
from src.core.ledger import Drop
from src.core.manifest import Manifest
from src.core.records import Record

from .conftest import dropped, reasons, rows, write_lines

NAMES = {"0": "bearish", "1": "bullish", "2": "neutral"}


def test_a_text_and_its_class() -> None:
    Path("t.csv").write_text('text,label,tone\n"Stocks, up\nagain",1,dry\n', encoding="utf-8")
    (found,) = Classes(path=Path("t.csv"), names=NAMES, ask="How does this sound? {text}", licence="MIT").examples()
    assert isinstance(found, Candidate) and found.licence == "MIT"
    assert found.example["label"] == "bullish" and found.example["tags"] == ["source:classes", "tone:dry"]
    assert [m["content"] for m in found.example["messages"]] == ["How does this sound? Stocks, up\nagain", "bullish"]
    assert found.said == ["How does this sound? Stocks, up\nagain"]


def test_every_kind_of_file() -> None:
    write_lines(Path("a.jsonl"), {"text": "one", "label": 0})
    pl.DataFrame({"text": ["two"], "label": [1]}).write_parquet("b.parquet")
    Path("c.tsv").write_text("text\tlabel\nthree\t2\n")
    Path("d.parquet").write_text("no table")
    made = [next(iter(Classes(path=Path(name)).examples())) for name in ("a.jsonl", "b.parquet", "c.tsv", "d.parquet")]
    assert [each.example["label"] if isinstance(each, Candidate) else each.reason for each in made] == ["0", "1", "2", "bad_parquet"]


def test_faults_by_name() -> None:
    lines = [
        {"text": "a b", "label": "0"},
        {"text": "A  b", "label": "1"},
        {"text": " ", "label": "0"},
        {"text": "c"},
        {"text": "d", "label": ""},
    ]
    path = write_lines(Path("t.jsonl"), *lines, {"text": "e", "label": "7"}, {"text": "a b", "label": "0"})
    found = list(Classes(path=path, names=NAMES).examples())
    assert reasons(found) == ["label_conflict", "no_text", "no_column", "no_label", "unknown_label"]
    assert next(each for each in found if isinstance(each, Drop)).detail == "bullish, but bearish as t.jsonl:1"


def test_records_with_labels(built: Callable[..., Manifest]) -> None:
    records = [Record(f"r{n}", f"text number {n}", {"label": "ab"[n % 2], "source": f"doc{n // 2}"}) for n in range(40)] + [
        Record("x", "no class")
    ]
    built(records, sources=[{"type": "classes"}], splits={"test": 0.2})
    assert dropped() == {"no_label": ["x"]}
    where = {row["id"]: split for split in ("train", "test", "validation") for row in rows(split)}
    assert all(where[f"r{n}"] == where[f"r{n + 1}"] for n in range(0, 40, 2))


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValidationError, match="not both"):
        Classes(path=Path("a"), glob="b")
    with pytest.raises(ValidationError, match=r"needs \{text\}"):
        Classes(path=Path("a"), ask="?")


def test_strata_hold_in_every_split(built: Callable[..., Manifest]) -> None:
    # 300 of one class, 60 of another, 12 of a third; texts of their own
    made = [
        {"text": f"{name}{n} said word{n} and word{n + 1}", "label": name}
        for name, count in (("a", 300), ("b", 60), ("c", 12))
        for n in range(count)
    ]
    path = str(write_lines(Path("t.jsonl"), *made))
    splits = {"test": 0.1, "validation": 0.05, "stratify": ["label"]}
    first = built(sources=[{"type": "classes", "path": path}], splits=splits)
    counts = {split: Counter(row["label"] for row in rows(split)) for split in ("train", "validation", "test")}
    for name, count in (("a", 300), ("b", 60), ("c", 12)):
        assert abs(counts["test"][name] - 0.1 * count) <= 1 and abs(counts["validation"][name] - 0.05 * count) <= 1
    assert built(sources=[{"type": "classes", "path": path}], splits=splits).outputs == first.outputs


def test_an_unknown_stratum_is_a_fault() -> None:
    from src.build import build

    Path("p.yaml").write_text("name: p\nbuild: {splits: {stratify: [labels]}}\n")
    with pytest.raises(ConfigError, match="did you mean 'label'"):
        build.load("p.yaml")


@pytest.mark.parametrize(
    ("name", "settings", "found"),
    [
        ("zeroshot_tfns/sent_train.csv", {"names": NAMES}, {"": 9543}),
        ("taborda/tweets_labelled_09042020_16072020.csv", {"label": "sentiment"}, {"": 1300, "no_label": 3700}),
    ],
)
def test_real_tweets(shared: Path, name: str, settings: dict, found: dict[str, int]) -> None:
    made = Counter(
        each.reason if isinstance(each, Drop) else "" for each in Classes(path=shared / "finance_tweets" / name, **settings).examples()
    )
    conflicts = made.pop("label_conflict", 0)
    made[""] += conflicts
    assert made == found and conflicts < 30
