"""Folders that may not be read or written, and disks that are full: one clear error or a drop, and nothing half done."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from src.core.tables import read_records

ROOT = Path(__file__).parents[2]
NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user or mount a disk")
ROW = json.dumps({"text": "A good row of plain words that takes some room."}) + "\n"


def mlx(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "src", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def project(**settings) -> None:
    Path("t.yaml").write_text(json.dumps({"name": "t", "scrape": {"sources": [{"type": "files", "path": "in"}]}, **settings}))


AS_NOBODY = """
import encodings.ascii, encodings.idna, encodings.latin_1, os, sys
from src.cli import main

def mlx(*arguments):
    sys.argv = ["mlx", *arguments]
    try:
        main()
    except SystemExit as ended:
        return ended.code or 0
    return 0

assert mlx("scrape", "t.yaml", "name=warm", "--force") == 0  # what is imported late is there before nobody may read it
for place, _, files in os.walk("log"):
    for path in (place, *(os.path.join(place, each) for each in files)):
        os.chown(path, 65534, 65534)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(mlx("scrape", "t.yaml", *sys.argv[2:]))
"""


def as_nobody(*arguments: str) -> "subprocess.CompletedProcess[str]":
    code = AS_NOBODY.replace("*sys.argv[2:]", ", ".join(map(repr, arguments)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


@root_only
def test_as_another_user_what_may_not_be_read_is_a_drop(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own is its user's alone
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    folder.chmod(0o755)
    monkeypatch.chdir(folder)
    Path("in/closed").mkdir(parents=True)
    Path("in/closed/a.txt").write_text("Nobody reads this text.")
    Path("in/b.txt").write_text("Nobody reads this one either.")
    Path("in/c.jsonl").write_text(ROW)
    Path("in/closed").chmod(0)
    Path("in/b.txt").chmod(0)
    project()
    Path("data").mkdir()
    Path("log").mkdir()
    for each in ("data", "log"):
        os.chown(each, NOBODY, NOBODY)
    done = as_nobody()
    assert done.returncode == 0, done.stderr
    drops = [json.loads(line) for line in Path("data/t/scrape/dropped.jsonl").read_text().splitlines()]
    assert {(each["id"], each["reason"]) for each in drops} == {("in/b.txt", "unreadable"), ("in/closed", "unreadable")}
    assert [record.id for record in read_records(Path("data/t/scrape"))] == ["in/c.jsonl:1"]
    # and where nothing may be written, one clear error
    os.chown("data/t/scrape", 0, 0)
    Path("data/t/scrape").chmod(0o555)
    done = as_nobody("--force")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "data/t/scrape" in done.stderr


@pytest.fixture
def small_disk():
    """A disk of 3 MB at `disk`."""
    Path("disk").mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", "disk"], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield Path("disk")
    subprocess.run(["umount", "-l", "disk"], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["scrape", "dedup", "build"])
def test_a_full_disk_is_one_clear_error_and_more_room_mends_it(small_disk: Path, stage: str) -> None:
    Path("in").mkdir()
    letters = str.maketrans("0123456789", "ghijklmnop")

    def told() -> str:  # words that no packing makes small
        word = os.urandom(200).hex().translate(letters)
        return " ".join(word[at : at + 8] for at in range(0, len(word), 8)).capitalize() + "."

    Path("in/a.jsonl").write_text("".join(json.dumps({"text": told()}) + "\n" for _ in range(9000)))
    project(dedup={}, build={"sources": [{"type": "passages", "min_words": 1, "shapes": ["instruction"]}]})
    stages = ["scrape", "dedup", "build"]
    for before in stages[: stages.index(stage)]:
        assert mlx(before, "t.yaml").returncode == 0
    Path("data/t").mkdir(parents=True, exist_ok=True)
    Path("data/t", stage).symlink_to(small_disk.absolute())
    failed = mlx(stage, "t.yaml")
    assert failed.returncode not in (0, -9), failed.stderr
    assert "Traceback" not in failed.stderr, failed.stderr[-3000:]
    assert "No space left" in failed.stderr or "full" in failed.stderr
    assert not Path("data/t", stage, "manifest.json").exists()
    subprocess.run(["mount", "-o", "remount,size=200m", "disk"], check=True)
    done = mlx(stage, "t.yaml")
    assert done.returncode == 0, done.stderr
    counts = json.loads(Path("data/t", stage, "manifest.json").read_text())["counts"]
    assert counts["read"] == counts["kept"] + counts["dropped"]
    assert counts["kept"] > 8000
