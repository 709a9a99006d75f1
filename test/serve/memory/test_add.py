"""Notes are written into the folder, and nowhere else."""

import os
from pathlib import Path

import pytest

from src.serve.beside.answering import Refused
from src.serve.memory.add import add

FOLDER = Path("bank")


@pytest.fixture(autouse=True)
def folder():
    FOLDER.mkdir()
    Path("outside").mkdir()


def write(name, text="# A\nb", *, append=False, largest=1000, note=100):
    return add(FOLDER, name, text, append=append, largest=largest, note=note)


def everything():
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name",
    [
        "../out.md", "/etc/out.md", "a/../../out.md", "a//b.md", "./a.md", ".hidden.md", "a/.git/b.md", "a.txt", "a.md/", "",
        "a\0.md", "a\\b.md", "a.md\n", "con\r.md", "a\u202eb.md", "file:///a.md", "~/.md", "a/b/c/d/e/f.md", "x" * 90 + ".md",
        " a.md", "a .md /b.md", "%2e%2e/a.md",
    ],
)  # fmt: skip
def test_a_name_that_is_none_of_a_note_is_refused(name):
    with pytest.raises(Refused) as refused:
        write(name)
    assert refused.value.why == "bad_name" and everything() == []


def test_no_link_leads_out():
    (FOLDER / "link").symlink_to(Path("outside").resolve())
    Path("outside/real.md").write_text("mine")
    (FOLDER / "real.md").symlink_to(Path("outside/real.md").resolve())
    (FOLDER / "dangling.md").symlink_to(Path("outside/new.md").resolve())
    os.link("outside/real.md", FOLDER / "twin.md")
    for name, append in (
        ("link/a.md", False),
        ("real.md", False),
        ("real.md", True),
        ("dangling.md", False),
        ("dangling.md", True),
        ("twin.md", True),
    ):
        with pytest.raises(Refused):
            write(name, append=append)
    assert [path.name for path in Path("outside").iterdir()] == ["real.md"] and Path("outside/real.md").read_text() == "mine"


def test_a_note_is_whole_and_what_is_there_stays():
    assert write("notes/Über das Licht-1.md", "# A\r\nb\0\n\n") == "notes/Über das Licht-1.md"
    assert (FOLDER / "notes/Über das Licht-1.md").read_text() == "# A\nb\n"
    with pytest.raises(Refused, match="append: true") as refused:
        write("notes/Über das Licht-1.md")
    assert refused.value.why == "exists"
    write("notes/Über das Licht-1.md", "more", append=True)
    write("new.md", "begun", append=True)
    assert (FOLDER / "notes/Über das Licht-1.md").read_text() == "# A\nb\n\nmore\n"
    assert everything() == ["bank/new.md", "bank/notes/Über das Licht-1.md"], "something was left behind"


def test_sizes_are_held():
    for text, why in (("  \n", "empty"), ("ä" * 60, "too_large")):
        with pytest.raises(Refused) as refused:
            write("a.md", text)
        assert refused.value.why == why
    write("a.md", "x" * 90, largest=100)
    with pytest.raises(Refused, match="would have more"):
        write("a.md", "y" * 20, append=True, largest=100)
    assert (FOLDER / "a.md").read_text() == "x" * 90 + "\n"


def test_a_full_disk_leaves_nothing_behind(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match="No space left"):
        write("a.md")
    assert everything() == []
