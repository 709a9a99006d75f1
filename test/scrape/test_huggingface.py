import json
import sys
from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.scrape import hub


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def rows(name: str, *texts: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("".join(json.dumps({"text": text, "n": number}) + "\n" for number, text in enumerate(texts)))


def test_files_of_a_data_set_in_shards(project):
    rows("set/train-0.jsonl", "The first row of it all.", "The second row of it.")
    rows("set/train-1.jsonl", "The third row of it all.")
    done = project({"type": "huggingface", "folder": "set", "meta": {"licence": "MIT"}})
    assert [record.id for record in done.records] == ["set/train/0:1", "set/train/0:2", "set/train/1:1"]
    assert done.records[1].text == "The second row of it."
    assert done.records[1].meta == {"source": "set/train/0:2", "n": 1, "licence": "MIT", "language": "en"}


def test_limit_columns_and_id(project):
    rows("set/train.jsonl", "one", "two", "")
    done = project({"type": "huggingface", "folder": "set", "limit": 2, "text": "n", "id": "text"})
    assert [(record.id, record.text) for record in done.records] == [("one", "0"), ("two", "1")]
    assert project({"type": "huggingface", "folder": "set"}).reasons == [("set/train:3", "no_text")]


def test_what_save_to_disk_writes(project):
    from datasets import Dataset, DatasetDict

    data = Dataset.from_dict({"text": ["one row", "two rows"]})
    data.save_to_disk("one")
    DatasetDict({"train": data, "test": data}).save_to_disk("more")
    assert len(project({"type": "huggingface", "folder": "one"}).records) == 2
    assert len(project({"type": "huggingface", "folder": "more", "split": "test"}).records) == 2


def test_a_wrong_split_is_named(project):
    rows("set/train.jsonl", "one")
    with pytest.raises(MlxError, match=r"Bad split: test\. Available splits: \['train'\]"):
        project({"type": "huggingface", "folder": "set", "split": "test"})


def test_no_network_is_an_error_to_mend(project):
    with pytest.raises(MlxError, match="nobody/nothing cannot be reached") as error:
        project({"type": "huggingface", "dataset": "nobody/nothing"})
    assert "`folder`" in error.value.hint


def refusing(error):
    def opened(*_):
        raise error

    return opened


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("DatasetNotFoundError:Dataset 'a/b' is a gated dataset on the Hub.", "is gated"),
        ("DatasetNotFoundError:Dataset 'a/b' doesn't exist on the Hub", "there is no data set a/b"),
        ("RuntimeError:Dataset scripts are no longer supported, but found b.py", "code of its own, which is not run"),
        ("KeyError:'x'", "cannot be opened: KeyError"),
    ],
)
def test_refusals_in_words(monkeypatch, error, message):
    from datasets.exceptions import DatasetNotFoundError

    kinds = {"DatasetNotFoundError": DatasetNotFoundError, "RuntimeError": RuntimeError, "KeyError": KeyError}
    kind, said = error.split(":", 1)
    monkeypatch.setattr(hub, "_opened", refusing(kinds[kind](said)))
    with pytest.raises(MlxError, match=message):
        hub.Shards("a/b", config=None, split="train", revision=None, limit=None)


def test_a_stream_that_breaks_off_keeps_the_rows_before(project, monkeypatch):
    def broken(*_):
        yield {"text": "The first row of it all."}
        raise OSError("connection reset")

    monkeypatch.setattr(hub, "_opened", lambda *_: broken())
    done = project({"type": "huggingface", "dataset": "a/b"})
    assert [record.id for record in done.records] == ["a/b/train:1"]
    assert [(drop["reason"], drop["detail"]) for drop in done.drops] == [("truncated", "after 1 rows: OSError: connection reset")]


@pytest.mark.parametrize("source", [{}, {"dataset": "a/b", "folder": "."}])
def test_it_needs_an_id_or_a_folder(project, source):
    with pytest.raises(ConfigError, match="either the id of a `dataset` or a `folder`"):
        project({"type": "huggingface"} | source)


def test_no_code_of_a_data_set_is_run(project):
    Path("set").mkdir()
    Path("set/set.py").write_text("import pathlib; pathlib.Path('ran').touch()\n")
    with pytest.raises(MlxError):
        project({"type": "huggingface", "folder": "set"})
    assert not Path("ran").exists()
    assert "set" not in sys.modules
