"""The mix: shares in rows or tokens, drops for what is over, repeats for what is short."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from src.build import build
from src.build.candidate import Candidate
from src.build.mix import Mix, Mixed
from src.core.errors import ConfigError
from src.core.ledger import Drop
from src.core.manifest import Manifest

from .conftest import dropped, rows, write_lines


def row(source: str, number: int, tokens: int = 10, split: str = "train") -> Candidate:
    example = {"id": f"{source}:{number}", "messages": [], "tools": [], "label": None, "tags": [f"source:{source}"], "sources": []}
    return Candidate(example, f"{source}:{number}", split, tokens=tokens, source=source)  # type: ignore[arg-type]


def mix(candidates: list[Candidate], **settings: object) -> tuple[list[Candidate], list[Drop], dict]:
    mixed = Mixed(Mix(**settings), 1)  # type: ignore[arg-type]
    found = list(mixed.rows(candidates))
    return [each for each in found if isinstance(each, Candidate)], [each for each in found if isinstance(each, Drop)], mixed.info


CANDIDATES = [*(row("a", n) for n in range(100)), *(row("b", n, 40) for n in range(50)), *(row("c", n) for n in range(7))]


def test_by_rows_as_many_as_the_scarcest_allows() -> None:
    kept, gone, info = mix(CANDIDATES, weights={"a": 1, "b": 1}, by="rows")
    assert Counter(each.source for each in kept) == {"a": 50, "b": 50, "c": 7}
    assert {each.reason for each in gone} == {"over_mix"} and len(gone) == 50
    assert info["a"] == {"share": 0.5, "available": 100, "wanted": 50, "taken": 50, "repeats": 0}


def test_by_tokens() -> None:
    kept, _, info = mix(CANDIDATES, weights={"a": 0.5, "b": 0.5})
    assert Counter(each.source for each in kept) == {"a": 100, "b": 25, "c": 7}
    assert info["b"]["taken"] == 1000


def test_repeats_are_counted_and_named() -> None:
    kept, gone, info = mix(CANDIDATES, weights={"c": 1, "a": 1}, by="rows", total=40, repeat=3)
    names = [each.example["id"] for each in kept if each.source == "c"]
    assert len(names) == 20 and len(set(names)) == 20 and sum("~2" in name for name in names) == 7 and info["c"]["repeats"] == 13
    assert sum(each.repeat > 0 for each in kept) == 13 and len(gone) == 80


def test_a_weight_of_zero_leaves_a_source_out_and_held_out_rows_stay() -> None:
    kept, gone, _ = mix([*CANDIDATES, row("a", 200, split="test")], weights={"a": 0, "b": 1})
    assert Counter((each.source, each.split) for each in kept) == {("b", "train"): 50, ("c", "train"): 7, ("a", "test"): 1}
    assert len(gone) == 100


def test_the_whole_stage_accounts_for_both(built: Callable[..., Manifest]) -> None:
    for name, count in (("few", 10), ("many", 60)):
        said = [[{"role": "user", "content": f"{name} {n}?"}, {"role": "assistant", "content": f"{name} yes {n}"}] for n in range(count)]
        write_lines(Path(f"{name}.jsonl"), *({"messages": each} for each in said))
    sources = [{"type": "chats", "path": f"{name}.jsonl", "name": name} for name in ("few", "many")]
    section = {
        "sources": sources,
        "splits": {"test": 0, "validation": 0},
        "mix": {"weights": {"few": 1, "many": 1}, "by": "rows", "repeat": 2},
    }
    manifest = built(**section)
    assert len(rows("train")) == 40 and len({row["id"] for row in rows("train")}) == 40
    assert len(dropped()["over_mix"]) == 40 and manifest.counts["read"] == 70 and manifest.counts["kept"] == 30
    assert manifest.info["mix"]["few"]["repeats"] == 10
    assert "| few | 20 | 0 | 0 |" in Path("data/p/build/card.md").read_text()
    assert built(**section).outputs == manifest.outputs


def test_two_sources_of_a_type_and_a_weight_of_none() -> None:
    Path("a.jsonl").touch()
    Path("p.yaml").write_text(
        "name: p\nbuild: {sources: [{type: chats, path: a.jsonl}, {type: chats, path: a.jsonl}], mix: {weights: {chats: 1, chat2: 1}}}\n"
    )
    with pytest.raises(ConfigError, match=r"no source is called 'chat2'; did you mean 'chats2'\?"):
        build.load("p.yaml")
