"""What the build's tests share: projects of a few lines, records, a tokenizer of single bytes."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from src.build import build
from src.core.ledger import Drop
from src.core.manifest import Manifest
from src.core.records import Record
from src.core.tables import write_records
from src.text.tokens import estimate_tokens

TEMPLATE = Path(__file__).parents[2] / "src/models/chatml.jinja"
SENTENCES = (
    "The {thing} of {name} stood by the old mill at noon.",
    "Nobody in {name} knew why the {thing} was there, or cared.",
    "I asked.",
)


def by_estimate(texts: Iterable[str]) -> list[int]:
    return [estimate_tokens(text) for text in texts]


def book(number: int, *, paragraphs: int = 12, author: str = "Pip") -> Record:
    """A document of its own words."""
    name, thing = f"Village{'abcdefghijklmnopqrstuvwxyz'[number % 26]}{number // 26}", f"thing{number}"
    text = "\n\n".join(
        " ".join(sentence.format(name=name, thing=f"{thing}x{paragraph}") for sentence in SENTENCES * 2) for paragraph in range(paragraphs)
    )
    return Record(f"books/{number}.txt", text, {"source": f"books/{number}.txt", "author": author, "title": f"Book {number}"})


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    """A tokenizer of single bytes with a ChatML template."""
    learner = Tokenizer(models.BPE({letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    learner.pre_tokenizer, learner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learner, eos_token="<|im_end|>", clean_up_tokenization_spaces=False)
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in ("<|im_start|>", "<|im_end|>")])
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8").strip()
    tokenizer.save_pretrained(tmp_path / "tok")
    return tmp_path / "tok"


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Manifest]:
    """Build a project of these records and this section."""

    def run(records: Iterable[Record] | None = None, *, seed: int = 42, **section: Any) -> Manifest:
        if records is not None:
            write_records(tmp_path / "in/records.parquet", records)
            section["input"] = ["in/records.parquet"]
        (tmp_path / "p.yaml").write_text(yaml.safe_dump({"name": "p", "seed": seed, "build": section}))
        return build(build.load("p.yaml"), force=True)

    return run


def rows(split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path("data/p/build") / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def dropped() -> dict[str, list[str]]:
    """Ids of dropped rows by reason."""
    found: dict[str, list[str]] = {}
    path = Path("data/p/build/dropped.jsonl")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        row = json.loads(line)
        found.setdefault(row["reason"], []).append(row["id"])
    return found


def reasons(items: Iterable[Any]) -> list[str]:
    return [item.reason for item in items if isinstance(item, Drop)]


def write_lines(path: Path, *made: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in made), encoding="utf-8")
    return path
