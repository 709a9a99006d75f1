"""Tests of a dataset: each finds its fault, tolerates its share, and fails the stage or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from src.build.check import check, judge, table
from src.build.checks import Check
from src.build.grounded import ungrounded
from src.build.personal import personal
from src.core.errors import MlxError
from src.core.manifest import Manifest

from .conftest import write_lines

CHECKS: TypeAdapter[Check] = TypeAdapter(Check)


def row(number: int, answer: str | None = "Yes, that is so.", ask: str = "Is it?", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{ask} {number}"}, {"role": "assistant", "content": answer}]
    return {"id": f"r{number}", "messages": messages, "tools": [], "label": None, "tags": [], "split": "train", **more}


def failed(settings: dict[str, Any], *rows: dict[str, Any]) -> list[str]:
    return [name for name, _ in CHECKS.validate_python(settings).faults(rows)]


@pytest.mark.parametrize(
    ("settings", "bad"),
    [
        ({"type": "no_empty_turns"}, row(1, "  ")),
        ({"type": "length", "min_words": 3}, row(1, "No.")),
        ({"type": "length", "max_words": 15, "of": "all"}, row(1, "so " * 16)),
        ({"type": "pii"}, row(1, "Write to jo.doe@mail.example.org.")),
        ({"type": "pii", "kinds": ["phone"]}, row(1, "Call +49 30 1234567.")),
        ({"type": "languages"}, row(1, "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter in Berlin.")),
        ({"type": "tagged", "key": "tone"}, row(1, tags=["source:chats"])),
        ({"type": "tagged", "key": "tone", "allowed": ["dry"]}, row(1, tags=["tone:wet"])),
        ({"type": "phrases", "patterns": ["as an ai (language )?model"]}, row(1, "As an AI model I cannot.")),
    ],
)
def test_each_finds_its_fault(settings: dict[str, Any], bad: dict[str, Any]) -> None:
    good = row(0, "It is a very fine day today, is it not?", tags=["tone:dry"])
    assert failed(settings, good, bad) == ["r1"]


def test_balance() -> None:
    rows = [row(n, label="a" if n else "b") for n in range(10)]
    assert failed({"type": "balance", "max_class": 0.8}, *rows) == ["label:a"]
    assert failed({"type": "balance", "min_class": 0.2}, *rows) == ["label:b"]
    assert failed({"type": "balance", "expected": ["a", "c"]}, *rows) == ["label:c"]
    assert failed({"type": "balance", "by": "tone", "max_class": 0.5}, *rows) == []


def test_duplicates() -> None:
    text = "the keeper climbed the tower and lit the lamp before the night came over the water and the gulls went home to sleep"
    rows = [row(0, text), row(1, text), row(2, "else " * 9 + "entirely"), row(1, text) | {"id": "r1~2"}]
    assert failed({"type": "duplicates", "threshold": 0.7}, *rows) == ["r1"] and not failed({"type": "duplicates"}, *rows)
    assert failed({"type": "duplicates", "threshold": 0.7, "across": True}, *rows) == []
    assert len(failed({"type": "duplicates", "threshold": 0.7, "across": True}, rows[0], rows[1] | {"split": "test"})) == 1


def test_rows_and_shares() -> None:
    assert failed({"type": "rows", "least": 2, "splits": ["train", "test"]}, row(0), row(1)) == ["test"]
    each = CHECKS.validate_python({"type": "length", "min_words": 3, "max_share": 0.5})
    assert judge(each, [row(0), row(1, "No.")]).state == "pass"
    assert judge(each, [row(0, "No."), row(1, "No.")]).state == "fail"
    tolerant = CHECKS.validate_python({"type": "length", "min_words": 3, "tolerate": True})
    verdict = judge(tolerant, [row(0, "No.")])
    assert verdict.state == "tolerated" and verdict.check == "length(min_words=3)" and verdict.shown == ("r0: 1 words",)
    assert "tolerated  length(min_words=3)  1 of 1" in table([verdict])


def test_a_wrong_pattern_is_a_fault() -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        CHECKS.validate_python({"type": "phrases", "patterns": ["("]})


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a@b.example", ["email"]),
        ("Ring (212) 555-0143 or +1 212 555 0143.", ["phone"]),
        ("Card 4111 1111 1111 1111", ["card"]),
        ("Card 4111 1111 1111 1112", []),
        ("DE89 3704 0044 0532 0130 00", ["iban"]),
        ("DE88 3704 0044 0532 0130 00", []),
        ("Host 8.8.8.8, not 192.168.0.1 nor 999.1.1.1", ["ip"]),
        ("Host 127.0.0.1", []),
        ("On 2026-09-15 at 53.20007, 50.15 it was 1,234.5 and 1876-1877", []),
    ],
)
def test_personal_data(text: str, kinds: list[str]) -> None:
    assert list(personal(text)) == kinds


def test_grounded() -> None:
    result = {"role": "tool", "content": '{"current_units": {"t": "°C"}, "current": {"t": -3.0, "time": "2026-01-02"}}'}
    ask = {"role": "user", "content": "In Oslo, for 5 days?"}
    said = [
        ({"role": "assistant", "content": text}, wrong)
        for text, wrong in (("It is -3 °C.", []), ("It is 4 °C.", ["4"]), ("-3.0 °F", ["°F"]), ("For 5 days", []))
    ]
    assert [ungrounded([ask, result, answer]) for answer, _ in said] == [wrong for _, wrong in said]
    assert ungrounded([ask, {"role": "assistant", "content": "77"}]) == []
    assert failed({"type": "grounded"}, row(0) | {"messages": [ask, result, said[1][0]]}) == ["r0"]


def test_the_stage_fails_or_goes_on(built: Callable[..., Manifest], caplog: pytest.LogCaptureFixture) -> None:
    path = write_lines(
        Path("c.jsonl"), *[{"instruction": f"Q{n}", "output": "No." if n < 2 else f"That would be number {n} of all."} for n in range(10)]
    )
    section = {"sources": [{"type": "chats", "path": str(path)}], "splits": {"test": 0.1}}
    with pytest.raises(MlxError, match=r"(?s)fails its checks.*fail  +length\(min_words=3\)  +2 of 10  +0.0%"):
        built(**section, checks=[{"type": "no_empty_turns"}, {"type": "length", "min_words": 3}])
    assert not Path("data/p/build/manifest.json").exists()
    manifest = built(**section, checks=[{"type": "length", "min_words": 3, "tolerate": True}])
    assert manifest.info["checks"][0]["state"] == "tolerated" and "fails (tolerated)" in caplog.text
    folder = Path("data/p/build")
    assert [each.state for each in check(folder, [CHECKS.validate_python({"type": "length", "min_words": 3, "max_share": 0.2})])] == [
        "pass"
    ]
    assert "| length(min_words=3) | tolerated | 2 | 10 |" in (folder / "card.md").read_text()
    with pytest.raises(MlxError, match=r"no train\.jsonl"):
        list(check(Path("nowhere"), []))
