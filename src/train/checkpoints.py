"""Tell whole checkpoints from those a kill cut short, so that a training goes on from the last whole one."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from src.core.files import write_text
from src.train.judge import Judge

MARK = "whole.json"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with adapter, optimizer, schedule and random state as they were after `step`."""

    folder: Path
    step: int
    last: bool
    """Whether the training ended with it."""


def newest(folder: Path) -> Checkpoint | None:
    """Return the last whole checkpoint in `folder`, and delete those that are not whole."""
    found: list[Checkpoint] = []
    for each in folder.glob("checkpoint-*"):
        if (each / MARK).exists():
            found.append(Checkpoint(each, **json.loads((each / MARK).read_text(encoding="utf-8"))))
        else:
            shutil.rmtree(each)
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


class MarkWhole(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint once all its files are written: the last thing that happens to it.

    Args:
        judge: Knows whether the training ended before its last step.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the mark."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        last = state.global_step >= state.max_steps or (self.judge is not None and self.judge.stopped)
        write_text(folder / MARK, json.dumps({"step": state.global_step, "last": last}))


def best(last: Checkpoint) -> Checkpoint:
    """Return the checkpoint that was best by what the judge looked at; the last one where none was."""
    state = json.loads((last.folder / "trainer_state.json").read_text(encoding="utf-8"))
    step = state.get("best_global_step")
    return Checkpoint(last.folder.with_name(f"checkpoint-{step}"), step, last=False) if step else last
