"""Follow the training of a classifier: figures on the validation split, the best state kept, an end when nothing gets better."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from src.core.files import write_text
from src.track import Log
from src.train.classification import Classification
from src.train.interrupt import Interrupt
from src.train.monitor import Monitor
from src.train.selection import best_step, is_spent

SCORES = "scores.json"
Scored = Callable[[], tuple[dict[str, float], dict[str, Any]]]


class Best:
    """The best state so far, in a folder of its step: whole or not there, and no other is lost before a checkpoint covers it."""

    def __init__(self, work: Path, save: Callable[[Path], None], *, upto: int) -> None:
        self.work = work
        self.save = save
        for folder, step in self._folders():
            if step > upto:  # of a run that was killed before its next checkpoint
                shutil.rmtree(folder)

    def keep(self, step: int, scores: Mapping[str, Any]) -> None:
        """Save the state of `step`."""
        part, folder = self.work / f".best-{step}.part", best_folder(self.work, step)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        part.mkdir(parents=True)
        self.save(part)
        write_text(part / SCORES, json.dumps(scores))
        part.replace(folder)

    def prune(self, step: int) -> None:
        """Delete all but that of `step`."""
        for folder, other in self._folders():
            if other != step:
                shutil.rmtree(folder)

    def _folders(self) -> list[tuple[Path, int]]:
        return [(each, int(each.name.removeprefix("best-"))) for each in self.work.glob("best-*")]


def best_folder(work: Path, step: int) -> Path:
    """Where the state of `step` is kept."""
    return work / f"best-{step}"


class ClassMonitor(Monitor):
    """Called by the trainer at each step.

    Args:
        logs: Where the numbers go.
        seen: Tokens so far, twice.
        scored: Measures the model on the validation split: figures by name, and what else is worth keeping.
        history: What was measured before this run took up.
        best: Keeps the best state.
        settings: What is watched, for how long.
        eval_steps: Steps between two measurements; None for about ten in all.
        log_steps: Steps between two lines on the console; None for about twenty in all.
        interrupt: Asked whether to stop.
    """

    def __init__(
        self,
        logs: Sequence[Log],
        *,
        seen: tuple[float, float],
        scored: Scored,
        history: list[dict[str, float]],
        best: Best,
        settings: Classification,
        eval_steps: int | None,
        log_steps: int | None,
        interrupt: Interrupt,
    ) -> None:
        super().__init__(logs, seen=seen, heldout=None, eval_steps=eval_steps, log_steps=log_steps, interrupt=interrupt)
        self.scored = scored
        self.history = history
        self.best = best
        self.settings = settings

    @property
    def spent(self) -> bool:
        """Whether it is time to end."""
        return is_spent(self.history, self.settings.watch, self.settings.patience)

    def count(self, _: Any, __: Any, inputs: Mapping[str, Any]) -> None:
        """Count the tokens on their way into the model: a forward pre-hook. All of them are learned from."""
        if torch.is_grad_enabled():
            learned, whole = self._batch
            tokens = inputs["attention_mask"].sum()
            self._batch = (learned + tokens, whole + tokens)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Mapping[str, float] | None = None, **rest: Any
    ) -> None:
        """Note the numbers of a step; end, with a checkpoint, where nothing gets better."""
        super().on_log(args, state, control, logs, **rest)
        if logs and "loss" in logs and self.spent and not control.should_training_stop:
            self.console.info(
                "step %d: no better %s for %d measurements: ending early",
                state.global_step,
                " or ".join(self.settings.watch),
                self.settings.patience,
            )
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Delete states that are no longer the best: the checkpoint just written knows which is."""
        if self.history:
            self.best.prune(best_step(self.history, self.settings.best))

    def _measure(self, step: int) -> None:
        figures, scores = self.scored()
        self._note(step, {f"validation_{name}": value for name, value in figures.items()})
        self.console.info(
            "step %d  validation loss %.3f  accuracy %.3f  macro F1 %.3f  MCC %.3f",
            *(step, figures["loss"], figures["accuracy"], figures["macro_f1"], figures["mcc"]),
        )
        if step == 0:
            return
        self.history.append({"step": step, **{f"validation_{name}": value for name, value in figures.items()}})
        if best_step(self.history, self.settings.best) == step:
            self.best.keep(step, {**figures, **scores})
