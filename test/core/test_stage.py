import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest

from src.core.config import Config, Cosmetic
from src.core.errors import ConfigError, MlxError
from src.core.ledger import Drop
from src.core.manifest import Manifest
from src.core.records import Record
from src.core.run import Run
from src.core.stage import StageConfig, folder, stage, summary
from src.core.tables import count_records, read_records

MADE: list[str] = []
BROKEN: set[int] = set()


class Part(Config):
    path: str = "in.txt"
    """A file outside."""

    def files(self):
        return [Path(self.path)]


class FooConfig(StageConfig):
    part: Part = Part()
    """Outside."""
    rows: int = 3
    """How many."""
    workers: Annotated[int, Cosmetic()] = 1
    """Changes nothing."""


@stage()
def foo(config: FooConfig, run: Run) -> None:
    """Make rows."""

    def piece(number: int):
        MADE.append(str(number))
        if number in BROKEN:
            raise RuntimeError("broke")
        yield Record(f"r{number}", "text", {"n": number})
        yield Drop(f"d{number}", "bad", "r0", {"text": "é\ud800"})

    items = (
        item
        for number in run.progress(range(config.rows), total=config.rows)
        for item in run.piece(f"piece {number}", lambda _, n=number: piece(n))
    )
    run.write_records(run.kept(items))
    run.info["rows"] = config.rows


@stage(reads={"records": ("foo",), "extra": ("nothing", None)})
def bar(config: StageConfig, run: Run) -> None:
    """Copy rows."""
    run.write_records(run.records())
    with run.write("note.txt") as stream:
        stream.write(run.input("records").fingerprint + str(run.has("extra")))


def project(stage, text="name: p\nfoo: {}\nbar: {}\n", *overrides):
    if not Path("in.txt").exists():
        Path("in.txt").touch()
    Path("p.yaml").write_text(text)
    return stage.load("p.yaml", *overrides)


@pytest.fixture(autouse=True)
def nothing_made():
    MADE.clear()
    BROKEN.clear()


def test_rows_are_kept_or_in_the_ledger():
    manifest = foo(project(foo))
    assert manifest.counts == {"read": 6, "kept": 3, "dropped": 3, "reasons": {"bad": 3}}
    drops = [json.loads(line) for line in (folder("p", "foo") / "dropped.jsonl").read_text().splitlines()]
    assert [drop["id"] for drop in drops] == ["d0", "d1", "d2"]
    assert drops[0]["row"]["text"] == "é\ud800"
    assert list(read_records(folder("p", "foo")))[1] == Record("r1", "text", {"n": 1})
    assert count_records(folder("p", "foo")) == 3
    assert summary(manifest) == "6 read, 3 kept, 3 dropped (bad 3)"


def test_what_is_fresh_is_passed_over_and_force_runs_it():
    first = foo(project(foo))
    assert foo(project(foo)).created == first.created
    assert len(MADE) == 3
    assert foo(project(foo), force=True).created > first.created
    assert len(MADE) == 6


@pytest.mark.parametrize("change", ["foo.rows=4", "seed=7"])
def test_a_change_makes_it_stale(change):
    key = foo(project(foo)).key
    assert foo(project(foo, "name: p\nfoo: {}\n", change)).key != key


def test_a_cosmetic_change_leaves_it_fresh():
    key = foo(project(foo)).key
    assert foo(project(foo, "name: p\nfoo: {workers: 8}\n")).key == key


def test_an_outside_file_that_changed_makes_it_stale():
    first = foo(project(foo))
    loaded = project(foo)
    Path("in.txt").write_text("more")
    assert foo(loaded).key != first.key


def test_after_a_break_only_the_rest_is_done_and_the_end_is_the_same():
    whole = foo(project(foo, "name: q\nfoo: {}\n")).fingerprint
    BROKEN.add(2)
    with pytest.raises(RuntimeError):
        foo(project(foo))
    assert Manifest.find(folder("p", "foo")) is None
    BROKEN.clear()
    MADE.clear()
    assert foo(project(foo)).fingerprint == whole
    assert MADE == ["2"]


def test_the_old_output_stays_until_the_new_one_is_whole():
    old = foo(project(foo))
    BROKEN.add(2)
    with pytest.raises(RuntimeError):
        foo(project(foo, "name: p\nfoo: {rows: 5}\n"))
    assert Manifest.read(folder("p", "foo")) == old
    assert count_records(folder("p", "foo")) == 3


def test_what_an_earlier_run_wrote_is_gone():
    foo(project(foo))
    (folder("p", "foo") / "sub").mkdir()
    foo(project(foo, "name: p\nfoo: {rows: 1}\n"))
    assert sorted(path.name for path in folder("p", "foo").iterdir() if not path.name.startswith(".")) == [
        "dropped.jsonl",
        "manifest.json",
        "records.parquet",
    ]
    assert not (folder("p", "foo") / ".work").exists()


def test_too_many_drops_fail_the_stage_and_say_where_to_look():
    with pytest.raises(MlxError, match=r"dropped 3 of 6 rows, more than max_drop 10%: bad 3") as error:
        foo(project(foo, "name: p\nfoo: {max_drop: 0.1}\n"))
    assert Path(error.value.hint.split()[2].rstrip(",")).exists()


def test_a_stage_reads_the_one_before_and_its_manifest_says_so():
    first = foo(project(foo))
    second = bar(project(bar))
    assert second.inputs["records"][0].fingerprint == first.fingerprint
    assert (folder("p", "bar") / "note.txt").read_text() == first.fingerprint + "False"


def test_a_stage_reads_what_input_says():
    foo(project(foo))
    foo(project(foo, "name: q\nfoo: {rows: 1}\n"))
    text = "name: r\nbar: {input: [data/p/foo, data/q/foo]}\n"
    with pytest.raises(MlxError, match="bar reads one records input, and has 2"):
        bar(project(bar, text))
    one = bar(project(bar, "name: r\nbar: {input: data/q/foo/records.parquet}\n"))
    assert one.counts["kept"] == 1


def test_a_missing_input_names_the_command_that_makes_it():
    with pytest.raises(MlxError, match="is not a finished output") as error:
        bar(project(bar))
    assert error.value.hint == "run `mlx foo p.yaml` first"
    with pytest.raises(MlxError, match="nothing makes the records") as error:
        bar(project(bar, "name: p\nbar: {}\n"))
    assert "add a section `foo:`" in error.value.hint
    with pytest.raises(ConfigError, match="has no section"):
        bar(project(bar, "name: p\n"))


def test_a_broken_manifest_says_how_to_make_it_again():
    foo(project(foo))
    (folder("p", "foo") / "manifest.json").write_text("{}")
    with pytest.raises(MlxError, match="cannot be read"):
        bar(project(bar))


def test_a_table_of_something_else_is_said():
    Path("x.parquet").write_text("no")
    with pytest.raises(MlxError, match="is no table of records"):
        list(read_records(Path("x.parquet")))


HOLD = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_runs_never_write_the_same_output():
    folder("p", "foo").mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(folder("p", "foo") / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MlxError, match="is being written by another mlx"):
            foo(project(foo))
        holder.kill()
    assert foo(project(foo))


def test_the_log_file_tells_the_run():
    foo(project(foo))
    text = Path("log/p/foo.log").read_text()
    assert "6 read, 3 kept, 3 dropped (bad 3)" in text
