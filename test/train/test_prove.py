"""`mlx train --prove-resume` trains, kills, resumes, compares, and leaves the project as it was."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from src.core.errors import MlxError
from src.train.prove import Proof, prove

from .forked import Forked

LOSSES = {1: 3.0, 2: 2.5, 3: 2.25, 4: 2.0}


def proof(resumed, tolerance=0.0):
    return Proof(LOSSES, resumed, killed_at=3, from_step=2, same_weights=resumed == LOSSES, tolerance=tolerance)


def test_the_verdict_names_the_largest_difference():
    assert proof(dict(LOSSES)).holds
    assert "all 4 losses are bit-equal; the weights are the same bytes" in proof(dict(LOSSES)).table()
    other = proof(LOSSES | {4: 2.125})
    assert not other.holds
    assert "the largest difference of 4 losses is 1.25e-01, OVER the tolerance of 0" in other.table()
    assert "   4          2.0    2.125   +1.25e-01" in other.table()
    assert proof(LOSSES | {4: 2.125}, tolerance=0.2).holds
    assert not proof({1: 3.0, 2: 2.5, 3: 2.25}, tolerance=0.2).holds  # a gap is no small difference


def test_a_long_table_shows_what_is_around_the_kill():
    many = dict.fromkeys(range(1, 201), 1.0)
    text = Proof(many, many, killed_at=100, from_step=50, same_weights=True, tolerance=0).table()
    assert "(159 steps further away are not shown)" in text
    assert "100          1.0      1.0           0  killed with -9, after it" in text


def test_the_step_has_to_lie_within(project):
    with pytest.raises(MlxError, match="of 10 steps"):
        prove(project(), 10)


@pytest.mark.slow
def test_for_real(project, monkeypatch):
    from src.cli import application

    run = SimpleNamespace(run=lambda command, env: SimpleNamespace(returncode=Forked(command, env=env).wait()))
    monkeypatch.setattr("src.train.prove.subprocess", run)
    project()
    found = CliRunner().invoke(application([]), ["train", "t.yaml", "--prove-resume", "3", "train.max_steps=4"])
    assert found.exit_code == 0, found.output
    assert "from this checkpoint" in found.output
    assert "all 4 losses are bit-equal; the weights are the same bytes" in found.output
    assert not Path("checkpoint").exists() or not list(Path("checkpoint").iterdir())
