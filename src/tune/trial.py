"""One trial in a process of its own, watched from outside: nothing of it is left in memory, and a kill costs only itself."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.manifest import Manifest
from src.core.project import Project
from src.core.stage import folder
from src.track.metrics import read_metrics
from src.tune.variant import linked, stage, stages, variant

_POLL = 0.3
"""Seconds between two looks at a trial's metrics."""
_CODE = "from src.tune.trial import work; work()"


class Failed(MlxError):  # noqa: N818
    """The trial ended without a figure."""


def run_trial(project: Project, settings: Mapping[str, Any], objective: str, *, report: Callable[[float], bool]) -> float | None:
    """Run the stages of a trial and return its figure, or None if it was given up.

    Args:
        project: The project as it is.
        settings: What the trial sets over it.
        objective: `train.` or `eval.` and the name of a figure.
        report: Told each value of the objective's course, in order; returns whether to give up.

    Raises:
        Failed: Where a stage ends with an error, or leaves no such figure.
    """
    last, _, figure = objective.partition(".")
    trial = variant(project, settings)
    names = stages(trial, settings, last)
    linked(project, trial, names[0])
    log = Path("log") / trial.name / "output.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    course = _Course(trial, figure if last == "train" else "")
    with log.open("ab") as stream, _child(project, settings, names, stream) as child:
        while child.poll() is None:
            time.sleep(_POLL)
            if any(report(value) for value in course.new()):
                child.kill()
                return None
        if any(report(value) for value in course.new()):
            return None
    if child.returncode == -2 or child.returncode == 130:
        raise KeyboardInterrupt
    if child.returncode:
        raise Failed(_last_error(log), f"all of it is in {log}")
    return figure_of(Manifest.read(folder(trial.name, last)), figure)


def figure_of(manifest: Manifest, name: str) -> float:
    """The figure `name` of a finished train or eval stage."""
    found = manifest.info.get("figures", {}).get(name, {}).get("tuned") if manifest.stage == "eval" else manifest.info.get(name)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    known = manifest.info.get("figures", {}) if manifest.stage == "eval" else {k for k, v in manifest.info.items() if isinstance(v, float)}
    raise Failed(f"{manifest.stage} gives no figure {name!r}", f"set tune.objective to one of {', '.join(sorted(known))}")


class _Course:
    """The values of a figure while the training goes on: nothing where it has none."""

    def __init__(self, trial: Project, figure: str) -> None:
        self.folder = folder(trial.name, "train")
        self.figure = figure
        self.seen = 0

    def new(self) -> Iterator[float]:
        """Values since the last look; that of the untouched model is passed over."""
        if not self.figure:
            return
        found = next(iter((*self.folder.glob(".work/*/metrics.jsonl"), self.folder / "metrics.jsonl")))
        values = [row[self.figure] for row in read_metrics(found) if self.figure in row and row["step"]]
        yield from values[self.seen :]
        self.seen = max(self.seen, len(values))


@contextmanager
def _child(project: Project, settings: Mapping[str, Any], names: list[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a trial; it does not outlive the block."""
    told = {
        "file": project.file.as_posix(),
        "overrides": list(project.overrides),
        "sections": list(project.sections),
        "settings": dict(settings),
        "stages": names,
    }
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    child = subprocess.Popen(
        [sys.executable, "-c", _CODE, json.dumps(told)], stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1"}
    )
    try:
        yield child
    except BaseException:
        child.terminate()  # it keeps a checkpoint, from which it goes on
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
        raise
    finally:
        child.wait()


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return next((line.removeprefix("error: ") for line in reversed(lines) if "rror" in line), "it ended without a word")


def work() -> None:
    """Run the stages of one trial: what the child process does."""
    from src.core.log import console
    from src.core.project import load

    told = json.loads(sys.argv[1])
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    project = load(told["file"], told["overrides"], {name: _section(name) for name in told["sections"]})
    console()
    trial = variant(project, told["settings"])
    try:
        for name in told["stages"]:
            stage(name)(trial)
    except MlxError as error:
        sys.stderr.write(f"error: {error}; {error.hint}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _end_with(parent: int) -> None:
    """End this process once the one that started it is gone: the next search does this trial again."""
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGKILL)


def _section(name: str) -> Any:
    if name == "tune":
        from src.tune import TuneConfig

        return TuneConfig
    return stage(name).Config
