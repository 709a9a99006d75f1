"""Every reason by which a conversation is dropped is explained, in `mlx why` and in the memory bank."""

import json
import re
from pathlib import Path

from src.core.life import life
from src.core.reasons import REASONS, explained

SRC = Path(__file__).parents[2] / "src"
FILES = [
    "models/conversation.py",
    "models/thoughts.py",
    "models/soundness.py",
    "models/encoder.py",
    "models/windows.py",
    "build/formats.py",
]


def test_every_fault_is_explained():
    raised = {name for file in FILES for name in re.findall(r'(?:Fault|Unreadable)\(\s*"(\w+)"', (SRC / file).read_text(encoding="utf-8"))}
    assert len(raised) > 30 and raised <= set(REASONS), raised - set(REASONS)


def test_the_table_of_the_memory_bank_is_that_of_the_code():
    text = (SRC.parent / "memory_bank/faults.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert {row[0].strip(" `"): tuple(cell.strip() for cell in row[1:]) for row in rows} == {
        name: (each.what, each.harm, each.remedy) for name, each in REASONS.items()
    }


def test_why_says_what_a_reason_means():
    assert explained("no such") == ""
    folder = Path("build")
    folder.mkdir()
    lines = [("a", "think_unclosed", "message 1"), ("b#part2", "too_long", "9 tokens")]
    (folder / "dropped.jsonl").write_text("".join(json.dumps({"id": i, "reason": r, "detail": d, "row": None}) + "\n" for i, r, d in lines))
    (folder / "train.jsonl").write_text(json.dumps({"id": "b#part1", "sources": []}) + "\n")
    assert list(life("a", {"build": folder}))[1] == f"build:   {explained('think_unclosed')}"
    assert list(life("b", {"build": folder})) == ["build: 1 examples in train: b#part1", "build: its part2 dropped: too_long (9 tokens)"]
