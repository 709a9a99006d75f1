"""Numbers to Weights & Biases: to a folder, for `wandb sync` to send later, or at once."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from src.core.config import Config, FromEnv
from src.core.files import write_text
from src.core.secrets import secret
from src.track.metrics import read_metrics
from src.track.names import flat, tag

RUN = "wandb.json"
_PRIVATE = ("disable_git", "disable_code", "x_disable_meta", "x_disable_stats", "x_disable_machine_info")


class WandB(Config):
    """Weights & Biases."""

    type: Literal["wandb"] = "wandb"
    mode: Annotated[Literal["offline", "online", "disabled"], FromEnv("WANDB_MODE")] = "offline"
    """`offline` writes files, for `wandb sync` to send later; `online` sends each step, with WANDB_API_KEY from the environment."""
    entity: str | None = None
    """Team or user; yours if none."""
    project: str | None = None
    """Project there; the name of this one if none."""
    folder: Path = Path("log")
    """Its files go to wandb/ in here."""

    def open(self, folder: Path, *, upto: int, project: str, settings: Mapping[str, Any]) -> "WandBLog | None":
        """Begin a run, or go on with the one noted in `folder`."""
        if self.mode == "online":
            secret("WANDB_API_KEY", "train.track sends to wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        before = _noted(folder) if upto else {}
        if self.mode == "offline" and before:
            shutil.rmtree(before["folder"], ignore_errors=True)  # written anew below: offline files cannot be cut
        self.folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self.project or project,
            entity=self.entity,
            id=before.get("id"),
            resume="allow" if self.mode == "online" else None,
            config=flat(settings),
            dir=self.folder,
            mode=self.mode,
            # nothing of this machine but the numbers: no console text, code, command line, host or git remote
            settings=wandb.Settings(console="off", silent=True, **dict.fromkeys(_PRIVATE, True)),
        )
        write_text(folder / RUN, json.dumps({"id": run.id, "folder": str(Path(run.dir).parent)}))
        log = WandBLog(run, known=run.step if self.mode == "online" else 0)
        if self.mode == "offline":
            for row in read_metrics(folder / "metrics.jsonl"):
                log.log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        return log


class WandBLog:
    """An open run.

    Args:
        run: As `wandb.init` makes it.
        known: Steps below this one are there already; wandb cannot take them back.
    """

    def __init__(self, run: Any, *, known: int) -> None:
        self.run = run
        self.known = known

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""
        if step >= self.known:
            self.run.log({tag(name): value for name, value in values.items()}, step=step)

    def close(self, output: str | None) -> None:
        """Write what is still held back."""
        if output:
            self.run.summary["output"] = output
        self.run.finish(exit_code=0 if output else 1)
        if self.run.settings.mode == "offline":
            logging.getLogger("mlx.track").info("wandb sync %s   # sends the curves", Path(self.run.dir).parent)


def _noted(folder: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found
