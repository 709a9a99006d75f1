"""Follow a training: numbers of each step to the trackers, some to the console, held-out loss, a bar with ETA."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from src.core.errors import MlxError
from src.track import Log
from src.train.interrupt import Interrupt
from src.train.judge import Judge
from src.train.ranks import rank, summed
from src.train.rows import IGNORED
from src.train.speed import Clock, Span, line

if TYPE_CHECKING:
    from src.train import TrainConfig


OF_PAIRS = {
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
}
"""What TRL says of preferences, and what it is called here."""


class Monitor(TrainerCallback):  # type: ignore[misc]
    """Called by the trainer at each step, in every process; the first one's logs get the numbers of all.

    Args:
        config: The section.
        logs: Where the numbers go.
        before: The newest number of each name, where the training goes on.
        heldout: Measures on rows that are not learned, `validation_loss` among others; None where there are none.
        mfu: Model FLOPs utilisation of one token a second; None where it is not known.
        interrupt: Asked whether to stop.
        judge: Told what was measured; None where the last checkpoint is the one that counts.
    """

    def __init__(
        self,
        config: "TrainConfig",
        logs: Sequence[Log],
        *,
        before: Mapping[str, float],
        heldout: Callable[[], Mapping[str, float]] | None,
        mfu: float | None,
        interrupt: Interrupt,
        judge: Judge | None = None,
    ) -> None:
        self.config = config
        self.logs = logs
        self.learned, self.all, self.seconds = (before.get(name, 0.0) for name in ("tokens", "tokens_all", "seconds"))
        self.heldout = heldout
        self.mfu = mfu
        self.interrupt = interrupt
        self.judge = judge
        self.console = logging.getLogger("mlx.train")
        self._clock = Clock()
        self._batch: tuple[Any, Any] = (0.0, 0.0)
        self._step = self._span = Span()
        self._losses: list[float] = []
        self._began = (0, perf_counter())
        self._bar: Any = None

    def count(self, _: Any, __: Any, inputs: Mapping[str, Any]) -> None:
        """Count the tokens on their way into the model: a forward pre-hook."""
        if torch.is_grad_enabled() and "input_ids" in inputs:
            learned, whole = self._batch
            real = inputs["attention_mask"].sum() if "attention_mask" in inputs else inputs["input_ids"].numel()
            if "labels" in inputs:
                # the first token of a row is predicted from nothing, unless it is one that was hidden
                masked = self.config.task == "pretrain" and self.config.pretrain.objective == "masked"
                now = (inputs["labels"][:, 0 if masked else 1 :] != IGNORED).sum()
            else:
                now = real  # a classifier learns from all tokens; its labels do not go through the model
            self._batch = (learned + now, whole + real)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show a bar that starts where the training does; measure the untouched model."""
        hidden = rank() > 0 or None
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", desc="train", leave=False, delay=1, disable=hidden)
        if state.global_step == 0:
            self._measure(state, control)
        self._began = (state.global_step, perf_counter())
        self._clock.idle()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock and the count of a step."""
        self._clock.begin()
        self._batch = (0.0, 0.0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Add up over the processes; stop here, with a checkpoint, where one of them was asked to."""
        interrupt = self.interrupt
        learned, whole, stop, save = summed([*map(float, self._batch), interrupt.asked, interrupt.save])
        interrupt.survive(state.global_step)
        interrupt.save = False
        self._step = self._clock.end(learned, whole)
        if stop:
            control.should_training_stop = True
            self.console.info("stopping with a checkpoint")
        if stop or save:
            control.should_save = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        """Note the numbers of a step."""
        if logs is None or "loss" not in logs:
            return
        step, span = state.global_step, self._step
        if not math.isfinite(logs["loss"]):
            raise MlxError(f"the loss is {logs['loss']} at step {step}", "lower train.learning_rate, or set train.precision to fp32")
        self.learned, self.all, self.seconds = self.learned + span.learned, self.all + span.whole, self.seconds + span.seconds
        values = {
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm", math.nan),
            "epoch": state.epoch or 0.0,
            "tokens": self.learned,
            "tokens_all": self.all,
            "tokens_per_second": span.learned / span.seconds,
            "tokens_all_per_second": span.whole / span.seconds,
            "wait_seconds": span.waited,
            "seconds": self.seconds,
        }
        values |= {name: logs[key] for key, name in OF_PAIRS.items() if key in logs}
        self._note(step, values | ({"mfu": self.mfu * values["tokens_all_per_second"]} if self.mfu else {}))
        self._say(step, state.max_steps, values)
        if step % (self.config.eval_steps or max(1, state.max_steps // 10)) == 0 or step >= state.max_steps:
            self._measure(state, control)
        self._clock.idle()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave the time it takes to save out of the waiting."""
        self._clock.idle()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the bar away."""
        self._bar.close()

    def _say(self, step: int, steps: int, values: dict[str, float]) -> None:
        self._bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        self._bar.update(1)
        self._losses.append(values["loss"])
        self._span += self._step
        if step % (self.config.log_steps or max(1, steps // 20)) and step != steps:
            return
        mean, span = sum(self._losses) / len(self._losses), self._span
        self._losses, self._span = [], Span()
        first, began = self._began
        price = self.config.price_per_hour
        text = line(
            step,
            steps,
            values | {"loss": mean},
            span,
            eta=(perf_counter() - began) / (step - first) * (steps - step),
            mfu=self.mfu and self.mfu * span.whole / span.seconds,
            cost=price and price * self.seconds / 3600,
        )
        self.console.info("%s", text)

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
