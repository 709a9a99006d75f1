"""Lets several workers count into one folder; imported by who starts them, before any of them counts."""

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder, which the metrics library looks at when it is imported."""


def share_counts(folder: Path) -> None:
    """Begin at nought in `folder`: what an earlier server counted there goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.db"):
        path.unlink()
    os.environ[VARIABLE] = str(folder.resolve())


def forget_worker(pid: int) -> None:
    """Take a worker that ended out of what is told of the living; what it counted stays counted."""
    folder = os.environ.get(VARIABLE)
    for path in Path(folder).glob(f"gauge_live*_{pid}.db") if folder else ():
        path.unlink(missing_ok=True)
