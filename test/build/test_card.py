"""What a build says about itself: card, picture, histogram, tags."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from src.build import build
from src.build.diversity import diversity, template
from src.build.lengths import lengths
from src.build.tags import tags_of, unknown_tag, value_of
from src.core.errors import ConfigError
from src.core.manifest import Manifest

from .conftest import book, dropped, rows, write_lines
from .test_mix import row

VOCABULARY = {"tone": ("dry", "warm"), "device": ("phone",)}


def test_the_histogram_counts_every_row() -> None:
    found = lengths([*(row("a", n, n) for n in range(1, 1001)), row("a", 0, 30, "test")], exact=True)
    train = found["splits"]["train"]
    assert found["width"] == 16 and sum(train["counts"]) == train["rows"] == 1000 and len(train["counts"]) == 63
    assert train["counts"][0] == 15 and (train["p50"], train["p90"], train["p99"], train["longest"]) == (500, 900, 990, 1000)
    assert found["splits"]["test"]["counts"] == [0, 1] and found["exact"]


def test_card_and_picture(built: Callable[..., Manifest]) -> None:
    records = [
        replace(book(n), meta=book(n).meta | {"licence": "CC0" if n else "CC BY | 4.0", "url": f"https://x.example/{n}"}) for n in range(6)
    ]
    chats = write_lines(Path("c.jsonl"), *({"instruction": f"Q{n}?", "output": f"A{n}", "label": "ab"[n % 2]} for n in range(9)), "{broken")
    sources = [
        {"type": "passages", "tokens": 80, "min_words": 10},
        {"type": "chats", "path": str(chats), "licence": "MIT", "name": "talks"},
    ]
    sources += [{"type": "weather", "rows": 20, "validation": 2, "test": 4}]
    manifest = built(records, sources=sources)
    text = Path("data/p/build/card.md").read_text(encoding="utf-8")
    for part in (
        "# p: dataset card",
        "| talks |",
        "| CC0 |",
        "| CC BY \\| 4.0 |",
        "| MIT | 9 |",
        "https://x.example/3",
        "bad_json",
        "Open-Meteo (CC BY 4.0)",
    ):
        assert part in text
    for part in ("## Classes", "## Variety", "```yaml\nbuild:", "seed 42", "![lengths](lengths.png)", "(estimated)"):
        assert part in text
    picture = Path("data/p/build/lengths.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 5000
    info = manifest.info["lengths"]["splits"]
    assert sum(part["rows"] for part in info.values()) == manifest.counts["kept"]
    assert built(records, sources=sources).outputs == manifest.outputs  # card and picture too


def test_tags_come_from_rows_and_settings() -> None:
    assert tags_of({"tone": "dry", "tags": ["domain:sea", "own", 3], "persona": None}, {"device": "phone"}) == [
        "tone:dry",
        "device:phone",
        "domain:sea",
        "own",
    ]
    assert tags_of({"tone": "dry", "tags": ["tone:dry"]}, {"tone": "warm"}) == ["tone:warm"]
    assert value_of({"label": None, "tags": ["source:chats", "source:web"]}, "source") == "web" and value_of({}, "label") == ""


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("tone:dyr", "did you mean 'dry'"),
        ("tonne:dry", "no key 'tonne'; did you mean 'tone'"),
        ("tone:dry", ""),
        ("persona:any", ""),
        ("kind:none", ""),
        ("own", ""),
    ],
)
def test_the_vocabulary_is_kept(tag: str, said: str) -> None:
    wrong = unknown_tag([tag], VOCABULARY)
    assert said in wrong and bool(said) == bool(wrong) and not unknown_tag([tag], {})


def test_tags_of_rows_are_checked(built: Callable[..., Manifest]) -> None:
    path = write_lines(
        Path("c.jsonl"), *({"instruction": f"Q{n}?", "output": f"A{n}", "tone": tone} for n, tone in enumerate(("dry", "dyr", "warm")))
    )
    manifest = built(
        sources=[{"type": "chats", "path": str(path), "tags": {"device": "phone"}}], tags=VOCABULARY, splits={"test": 0, "validation": 0}
    )
    assert dropped() == {"unknown_tag": ["c.jsonl:2"]} and manifest.info["tags"]["device:phone"] == 2
    assert sorted(each["tags"] for each in rows("train")) == [
        ["source:chats", "tone:dry", "device:phone"],
        ["source:chats", "tone:warm", "device:phone"],
    ]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("sources: [{type: chats, glob: x, tags: {tone: dyr}}], tags: {tone: [dry]}", "tags of chats: 'tone:dyr'; did you mean 'dry'"),
        ("sources: [{type: chats, glob: x, tags: {tonne: dry}}]", "did you mean 'tone'"),
        ("tags: {tonne: [dry]}", "did you mean 'tone'"),
    ],
)
def test_tags_of_the_config_are_checked(section: str, said: str) -> None:
    Path("p.yaml").write_text(f"name: p\nbuild: {{{section}}}\n")
    with pytest.raises(ConfigError, match=said):
        build.load("p.yaml")


def test_variety() -> None:
    says = [
        [{"role": "user", "content": ask}, {"role": "assistant", "content": "It is so."}]
        for ask in ("Is it 3 in Oslo?", "Is it 4 in New York?", "Why?")
    ]
    found = diversity({"messages": each} for each in says)
    assert found["requests"]["templates"] == 2 and found["requests"]["largest_template"] == 0.6667
    assert found["answers"] == {
        "rows": 3,
        "different": 1,
        "distinct_1": 0.3333,
        "distinct_2": 0.3333,
        "distinct_3": 0.3333,
        "templates": 1,
        "largest_template": 1.0,
    }
    assert template("At 12.5 °C in New York. Good") == "at 0 °c in x. good" and diversity([])["answers"] == {"rows": 0}
