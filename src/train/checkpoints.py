"""Tell whole checkpoints from those a kill cut short, so that a training goes on from the last whole one."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from src.core.files import write_text
from src.train.judge import Judge
from src.train.ranks import barrier, rank

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
    found = whole(folder)
    for each in set(folder.glob("checkpoint-*")) - {checkpoint.folder for checkpoint in found}:
        shutil.rmtree(each)
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def whole(folder: Path) -> list[Checkpoint]:
    """The checkpoints in `folder` of which every file is there, as long as it was when it was written."""
    found: list[Checkpoint] = []
    for mark in folder.glob(f"checkpoint-*/{MARK}"):
        noted = json.loads(mark.read_text(encoding="utf-8"))
        if noted.get("files", {}).items() <= _sizes(mark.parent).items():
            found.append(Checkpoint(mark.parent, noted["step"], noted["last"]))
    return found


class MarkWhole(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint once all its files are written, and on the disk: the last thing that happens to it.

    Args:
        judge: Knows whether the training ended before its last step.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Write the mark."""
        barrier()  # each process has its own random state in there
        if rank() == 0:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            sizes = _sizes(folder)
            for name in sizes:
                _flush(folder / name)
            last = state.global_step >= state.max_steps or (self.judge is not None and self.judge.stopped)
            write_text(folder / MARK, json.dumps({"step": state.global_step, "last": last, "files": sizes}))


def best(last: Checkpoint) -> Checkpoint:
    """Return the checkpoint that was best by what the judge looked at; the last one where none was."""
    state = json.loads((last.folder / "trainer_state.json").read_text(encoding="utf-8"))
    step = state.get("best_global_step")
    return Checkpoint(last.folder.with_name(f"checkpoint-{step}"), step, last=False) if step else last


def _sizes(folder: Path) -> dict[str, int]:
    files = (each for each in folder.rglob("*") if each.is_file() and each.name != MARK)
    return {each.relative_to(folder).as_posix(): each.stat().st_size for each in files}


def _flush(file: Path) -> None:
    """Have the system write the file out now, so that a loss of power finds no mark beside half a file."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
