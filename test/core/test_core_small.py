import logging
import random
import sys
from pathlib import Path

import pytest

from src.core import doctor, log, secrets, seeds
from src.core.errors import MlxError, did_you_mean
from src.core.files import atomic, digest, read_jsonl, stat_fingerprint, to_json, write_jsonl, write_text
from src.core.grid import age, grid
from src.core.records import Record
from src.core.scaffold import scaffold, templates


def test_a_file_is_whole_or_not_there():
    with pytest.raises(ValueError), atomic(Path("a/b.txt")) as stream:
        stream.write("half")
        raise ValueError
    assert list(Path("a").iterdir()) == []
    write_text(Path("a/b.txt"), "whole")
    assert Path("a/b.txt").read_text() == "whole"


def test_json_lines_hold_any_text():
    rows = [{"t": "é\n\u2028"}, {"t": "\ud800"}, {"t": "日本"}]
    assert write_jsonl(Path("x.jsonl"), rows) == 3
    assert list(read_jsonl(Path("x.jsonl"))) == rows
    assert to_json({"t": "é"}) == '{"t": "é"}'


def test_fingerprints_tell_changes():
    Path("d").mkdir()
    Path("d/a").write_text("1")
    before = stat_fingerprint([Path("d"), Path("missing")])
    Path("d/a").write_text("22")
    assert before != stat_fingerprint([Path("d"), Path("missing")])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})


def test_no_secret_reaches_a_log(monkeypatch, capsys):
    monkeypatch.setenv("SOME_API_KEY", "sk-canary-123")
    log.console("DEBUG")
    with log.logged_to(Path("log/x.log")):
        logging.getLogger("mlx.test").info("with %s in it", "sk-canary-123")
        try:
            raise ValueError("sk-canary-123")
        except ValueError:
            logging.getLogger("mlx.test").exception("failed")
    text = Path("log/x.log").read_text()
    assert "with *** in it" in text
    assert "ValueError: ***" in text
    assert "canary" not in text + capsys.readouterr().err


def test_a_missing_secret_says_how_to_set_it(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(MlxError, match="NO_SUCH_KEY is not set: labelling asks") as error:
        secrets.secret("NO_SUCH_KEY", "labelling asks")
    assert ".env" in error.value.hint
    monkeypatch.setenv("NO_SUCH_KEY", " value ")
    assert secrets.secret("NO_SUCH_KEY") == "value"
    assert "NO_SUCH_KEY" in secrets.names()


def test_seeds_give_the_same_draws():
    import numpy
    import torch

    def draws():
        seeds.seed_everything(3)
        return random.random(), numpy.random.random(), torch.rand(1).item()

    assert draws() == draws()
    assert seeds.derive(1, "a") == seeds.derive(1, "a") != seeds.derive(1, "b")


def test_did_you_mean():
    assert did_you_mean("theshold", ["threshold", "keep"]) == "; did you mean 'threshold'?"
    assert did_you_mean("zzz", ["b", "a"]) == "; choose from a, b"
    assert did_you_mean("zzz", []) == ""


def test_grid_and_age():
    assert grid([("a", 10), ("long", 5)], ("name", "n"), right=(1,)).splitlines() == ["name   n", "────  ──", "a     10", "long   5"]
    assert [age(each) for each in (5, 300, 7200, 200000)] == ["5 s", "5 min", "2 h", "2 d"]


def test_a_record_matches_where():
    record = Record("1", "t", {"author": "Pip", "year": 7})
    assert record.matches({"author": ["Pip", "Bob"], "year": "7"})
    assert not record.matches({"author": "Bob"})
    assert record.matches({})


def test_peak_memory_is_some(monkeypatch):
    import psutil

    assert 10 < log.peak_mb() < 1e6 < psutil.virtual_memory().total
    monkeypatch.setitem(sys.modules, "resource", None)
    assert 10 < log.peak_mb() < 1e6


def test_a_scaffold_is_a_shipped_file_under_a_new_name():
    file = scaffold("mine", "quickstart")
    text = file.read_text()
    assert "\nname: mine\n" in "\n" + text
    assert "#" in text
    assert Path("config/quickstart").is_dir()
    with pytest.raises(MlxError, match="already there"):
        scaffold("mine", "quickstart")
    with pytest.raises(MlxError, match="no template 'mian'; did you mean 'main'"):
        scaffold("other", "mian")
    with pytest.raises(MlxError, match="is no project name"):
        scaffold("../x", "main")
    assert "quickstart" in templates()


def test_the_doctor_finds_what_this_machine_has(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary_1")
    found = {check.what: check for check in doctor.checks()}
    assert found["Python"].state == "ok"
    assert found["HF_TOKEN"].found == "set"
    assert "canary" not in str(found)
    assert found["torch"].state == "ok"
    assert all(check.fix for check in found.values() if check.state == "fault")


def test_the_doctor_names_the_fix_of_each_fault(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert [check.fix for check in doctor._torch()] == ["uv sync"]
    monkeypatch.setattr(doctor, "version", lambda _: (_ for _ in ()).throw(doctor.PackageNotFoundError))
    assert {check.state for check in doctor._packages()} == {"fault"}
    monkeypatch.setattr(doctor, "_driver", lambda: "570.1")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "torch cannot use it" in next(doctor._cuda()).found


def test_the_driver_is_asked_of_its_own_tool(tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 580.65\n")
    tool.chmod(0o755)
    assert doctor._driver(lambda _: str(tool)) == "580.65"
    assert doctor._driver(lambda _: None) == ""
