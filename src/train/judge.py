"""Choose the checkpoint that is written, and end a training that gets no better."""

from collections.abc import Mapping, Sequence

from transformers import TrainerControl, TrainerState

from src.core.errors import MlxError


class Judge:
    """Looks at each measurement on the validation split.

    Args:
        name: The measurement that counts, such as `validation_loss`; the smaller the better for losses, else the larger.
        patience: Measurements in a row without a better one after which the training ends; None to go on.
        before: What was measured before the training was interrupted, as lines of metrics.jsonl.
        watch: Measurements of which one has to get better for patience not to be spent; the one that counts where empty.
    """

    def __init__(self, name: str, *, patience: int | None, before: Sequence[Mapping[str, float]] = (), watch: Sequence[str] = ()) -> None:
        self.name = name
        self.watch = set(watch) or {name}
        self.patience = patience
        self.tops: dict[str, float] = {}
        self.stale = 0
        self.stopped = False
        """Whether the training ended for want of anything better."""
        for row in before:
            if name in row and row["step"]:
                self._better(row)

    @property
    def best(self) -> float | None:
        """The best value of the measurement that counts."""
        return self.tops.get(self.name)

    def look(self, found: Mapping[str, float], state: TrainerState, control: TrainerControl) -> None:
        """Have a checkpoint kept that is the best so far; end the training where patience is spent.

        Raises:
            MlxError: Where nothing of the name was measured.
        """
        if self.name not in found:
            names = ", ".join(found) or "nothing"
            raise MlxError(f"train.best {self.name}: what is measured here is {names}", "name one of them")
        if state.global_step == 0:  # the untouched model is no checkpoint
            return
        if self._better(found):
            state.best_metric, state.best_global_step = self.best, state.global_step
            control.should_save = True
        if self.patience and self.stale >= self.patience:
            self.stopped = control.should_training_stop = control.should_save = True

    def _better(self, found: Mapping[str, float]) -> bool:
        """Take note of a measurement; return whether the one that counts is better than ever."""
        better = {name for name in {self.name, *self.watch} if name in found and self._beats(name, found[name])}
        self.tops |= {name: found[name] for name in better}
        self.stale = 0 if better & self.watch else self.stale + 1
        return self.name in better

    def _beats(self, name: str, value: float) -> bool:
        sign = 1 if name.split("/")[0].endswith("loss") else -1
        return name not in self.tops or sign * value < sign * self.tops[name]
