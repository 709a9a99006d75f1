"""A dataset shown: what is learned is set off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from src.build.preview import preview
from src.core.errors import MlxError
from src.core.files import write_jsonl
from src.core.manifest import Manifest

from .conftest import rows, write_lines

FOLDER = Path("data/p/build")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}], "tools": [TOOL]}


@pytest.fixture
def make(built: Callable[..., Manifest]) -> Callable[..., Manifest]:
    def run(**section: object) -> Manifest:
        path = write_lines(Path("c.jsonl"), ROW)
        return built(sources=[{"type": "chats", "path": str(path)}], splits={"validation": 0, "test": 0}, **section)

    return run


def test_without_a_tokenizer_by_role(make: Callable[..., Manifest]) -> None:
    make()
    text = "\n".join(preview(FOLDER, 3))
    assert "no tokenizer was given" in text and "c.jsonl:1 · 2 messages · source:chats tools · from c.jsonl:1" in text
    assert "tools: f" in text and "user: Hi" in text and "assistant: \x1b[32mf({'a': 1})\x1b[0m" in text


def test_with_a_tokenizer_by_token(make: Callable[..., Manifest], tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tokenizer=str(tokenizer_folder))
    coloured = "\n".join(preview(FOLDER, 1))
    assert "\x1b[35m<|im_start|>\x1b[0muser\nHi" in coloured and "\x1b[32m<tool_call>" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = "\n".join(preview(FOLDER, 1))
    assert '⟦<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>⟧' in plain and "\x1b" not in plain
    assert " learned · " in plain.split("\n")[0]


def test_with_a_scratch_tokenizer(make: Callable[..., Manifest]) -> None:
    make(tokenizer="scratch")
    assert "learned" in next(preview(FOLDER, 1))


def test_a_row_that_the_template_refuses_says_why(make: Callable[..., Manifest], tokenizer_folder: Path) -> None:
    make(tokenizer=str(tokenizer_folder))
    write_jsonl(FOLDER / "train.jsonl", [rows("train")[0] | {"messages": [{"role": "assistant"}, {"role": "user", "content": [1]}]}])
    assert "template_error" in next(preview(FOLDER, 1))


def test_no_such_split_and_no_such_dataset(make: Callable[..., Manifest]) -> None:
    with pytest.raises(MlxError, match="not a finished output"):
        next(preview(FOLDER, 1))
    make()
    with pytest.raises(MlxError, match="no split 'tests'") as caught:
        next(preview(FOLDER, 1, "tests"))
    assert caught.value.hint == "choose from test, train, validation"
