"""A stage without an end."""

from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.run import Run
from src.core.stage import StageConfig, stage

seen: list[list[str]] = []


class WaitConfig(StageConfig):
    """Wait."""


@stage(service=True)
def wait(config: WaitConfig, run: Run) -> None:
    """Wait until stopped."""
    seen.append(sorted(path.name for path in run.output.iterdir()))
    (run.output / "here.json").write_text("{}")
    with pytest.raises(MlxError, match="another mlx"):
        wait(wait.load("p.yaml"))
    (run.output / "here.json").unlink()


def test_a_service_runs_each_time_alone_and_leaves_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen.clear()
    Path("p.yaml").write_text("name: p\nwait: {}\n")
    first = wait(wait.load("p.yaml"))
    second = wait(wait.load("p.yaml"))
    assert first.stage == "wait" and first.key == second.key
    assert seen == [[".lock"], [".lock"]]
    assert [path.name for path in Path("data/p/wait").iterdir()] == [".lock"]
    assert Path("log/p/wait.log").exists()
