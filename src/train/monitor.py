"""Follow a training: numbers of each step to the trackers, some to the console, held-out loss, a bar with ETA."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from src.core.errors import MlxError
from src.track import Log
from src.train.interrupt import Interrupt
from src.train.judge import Judge
from src.train.rows import IGNORED

OF_PAIRS = {
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
}
"""What TRL says of preferences, and what it is called here."""


class Monitor(TrainerCallback):  # type: ignore[misc]
    """Called by the trainer at each step.

    Args:
        logs: Where the numbers go.
        seen: Tokens learned from and tokens in all, so far.
        heldout: Measures on rows that are not learned, `validation_loss` among others; None where there are none.
        eval_steps: Steps between two measurements; None for about ten in all.
        log_steps: Steps between two lines on the console; None for about twenty in all.
        interrupt: Asked whether to stop.
        judge: Told what was measured; None where the last checkpoint is the one that counts.
    """

    def __init__(
        self,
        logs: Sequence[Log],
        *,
        seen: tuple[float, float],
        heldout: Callable[[], Mapping[str, float]] | None,
        eval_steps: int | None,
        log_steps: int | None,
        interrupt: Interrupt,
        judge: Judge | None = None,
    ) -> None:
        self.logs = logs
        self.learned, self.all = seen
        self.heldout = heldout
        self.eval_steps = eval_steps
        self.log_steps = log_steps
        self.interrupt = interrupt
        self.judge = judge
        self.console = logging.getLogger("mlx.train")
        self._batch = (0.0, 0.0)
        self._losses: list[float] = []
        self._start = 0.0
        self._bar: Any = None

    def count(self, _: Any, __: Any, inputs: Mapping[str, Any]) -> None:
        """Count the tokens on their way into the model: a forward pre-hook."""
        if torch.is_grad_enabled() and "labels" in inputs:
            learned, whole = self._batch
            real = inputs["attention_mask"].sum() if "attention_mask" in inputs else inputs["input_ids"].numel()
            self._batch = (learned + (inputs["labels"] != IGNORED).sum(), whole + real)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show a bar that starts where the training does; measure the untouched model."""
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", desc="train", leave=False, delay=1)
        if state.global_step == 0:
            self._measure(state, control)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock and the count of a step."""
        self._start, self._batch = time.perf_counter(), (0.0, 0.0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop here, with a checkpoint, if asked to."""
        if self.interrupt.asked:
            control.should_save = control.should_training_stop = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        """Note the numbers of a step."""
        if logs is None or "loss" not in logs:
            return
        step = state.global_step
        seconds = time.perf_counter() - self._start
        learned, whole = (float(each) for each in self._batch)
        self.learned, self.all = self.learned + learned, self.all + whole
        if not math.isfinite(logs["loss"]):
            raise MlxError(f"the loss is {logs['loss']} at step {step}", "lower train.learning_rate, or set train.precision to fp32")
        values = {
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm", math.nan),
            "epoch": state.epoch or 0.0,
            "tokens": self.learned,
            "tokens_all": self.all,
            "tokens_per_second": learned / seconds,
            "tokens_all_per_second": whole / seconds,
        }
        values |= {name: logs[key] for key, name in OF_PAIRS.items() if key in logs}
        self._note(step, values)
        self._losses.append(logs["loss"])
        self._say(step, state.max_steps, values)
        if step % (self.eval_steps or max(1, state.max_steps // 10)) == 0 or step >= state.max_steps:
            self._measure(state, control)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the bar away."""
        self._bar.close()

    def _say(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        self._bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        self._bar.update(1)
        every = self.log_steps or max(1, steps // 20)
        if step % every and step != steps:
            return
        mean = sum(self._losses) / len(self._losses)
        self._losses = []
        self.console.info(
            "step %d/%d  loss %.3f  lr %.1e  grad %.2f  %s tok/s learned, %s in all",
            step,
            steps,
            mean,
            values["learning_rate"],
            values["grad_norm"],
            f"{values['tokens_per_second']:,.0f}",
            f"{values['tokens_all_per_second']:,.0f}",
        )

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        if self.heldout is None:
            return
        step, found = state.global_step, self.heldout()
        self._note(step, found)
        if self.judge:
            self.judge.look(found, state, control)
        said = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.items() if "/" not in name]  # parts of it are in the file
        self.console.info("step %d  %s", step, ", ".join(said))

    def _note(self, step: int, values: Mapping[str, float]) -> None:
        for log in self.logs:
            log.log(step, values)
