"""The study: which settings to try next, and what became of those tried. Optuna's, in a database that a kill leaves whole."""

import json
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import optuna
import psutil
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from src.core.errors import MlxError
from src.core.files import digest
from src.core.secrets import redact
from src.core.seeds import derive
from src.tune import Range, TuneConfig

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
ERROR = "error"
"""Attribute of a trial whose settings do not work: what a failed one has, and one that was cut short has not."""
_GRACE = 60
"""Seconds after which a trial that names no process has lost it."""


class Study:
    """An Optuna study that goes on to the same trials after a kill.

    Args:
        config: The search.
        file: Where the SQLite database lies, unless `config.storage` names another.
        name: Stands for all that makes figures comparable: project, space, settings, inputs.
        seed: Draws the settings.
    """

    def __init__(self, config: TuneConfig, *, file: Path, name: str, seed: int) -> None:
        optuna.logging.disable_default_handler()
        self.config = config
        self.seed = seed
        self.distributions = {key: distribution(each) for key, each in config.space.items()}
        url = config.storage or f"sqlite:///{file.as_posix()}"
        try:
            self.storage = optuna.storages.RDBStorage(url)
            self.optuna = optuna.create_study(
                storage=self.storage, study_name=name, direction=config.direction, pruner=_pruner(config.pruner), load_if_exists=True
            )
        except Exception as error:
            if not config.storage:
                raise
            raise MlxError(f"tune.storage cannot be opened: {redact(str(error)).splitlines()[0]}", "mend the URL in TUNE_STORAGE") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.remove_session()
        self.storage.engine.dispose()

    def trials(self) -> list[FrozenTrial]:
        """Trials in order, without those that were cut short: they are there again."""
        return [each for each in self.optuna.get_trials(deepcopy=False) if each.state != TrialState.FAIL or ERROR in each.user_attrs]

    def best(self) -> FrozenTrial | None:
        """The best trial that ended; of equals the first."""
        ended = [each for each in self.trials() if each.state == TrialState.COMPLETE and each.value is not None]
        sign = 1 if self.config.direction == "minimize" else -1
        return min(ended, key=lambda each: sign * (each.value or 0.0), default=None)

    def take_up(self) -> None:
        """Put trials that died with their process back into the queue."""
        for each in self.trials():
            if each.state == TrialState.RUNNING and _is_dead(each):
                self.again(each.number, each.params)

    def again(self, number: int, params: Mapping[str, Any]) -> None:
        """Put a trial that was cut short back into the queue, to go on in the same folder."""
        waiting = [each.system_attrs.get("fixed_params") for each in self.trials() if each.state == TrialState.WAITING]
        if params and params not in waiting:
            self.optuna.enqueue_trial(dict(params))
        self.optuna.tell(number, state=TrialState.FAIL)

    def failed(self, trial: Trial, why: str) -> None:
        """Note that a trial's settings do not work."""
        trial.set_user_attr(ERROR, why)
        self.optuna.tell(trial, state=TrialState.FAIL)

    def first(self, settings: Mapping[str, Any]) -> None:
        """Let the search begin with these settings."""
        if not self.trials():
            self.optuna.enqueue_trial({key: packed(value) for key, value in settings.items()})

    def ask(self) -> Trial:
        """The next trial. What is drawn depends on the seed and the trials before, whatever was killed between them."""
        before = self.trials()
        drawn = sum(each.state != TrialState.WAITING for each in before)
        startup = min(10, max(3, self.config.trials // 3))
        self.optuna.sampler = optuna.samplers.TPESampler(
            seed=derive(self.seed, "tune", drawn), n_startup_trials=startup, multivariate=False
        )
        trial = self.optuna.ask(self.distributions)
        for key, value in _me().items():
            trial.set_user_attr(key, value)
        return trial

    def same(self, trial: Trial) -> FrozenTrial | None:
        """A trial that ended with these very settings."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        return next((each for each in self.trials() if each.state in ended and each.params == trial.params), None)

    @property
    def finished(self) -> int:
        """Trials that have ended, one way or another."""
        return sum(int(each.state in FINISHED) for each in self.trials())

    @property
    def begun(self) -> int:
        """Those, and the ones that other processes are at."""
        return len([each for each in self.trials() if each.state in (*FINISHED, TrialState.RUNNING)])


def distribution(choice: Range | tuple[Any, ...]) -> BaseDistribution:
    """What Optuna draws a key from."""
    if not isinstance(choice, Range):
        return CategoricalDistribution([packed(each) for each in choice])
    if choice.whole:
        return IntDistribution(int(choice.low), int(choice.high), log=choice.log, step=int(choice.step or 1))
    return FloatDistribution(choice.low, choice.high, log=choice.log, step=choice.step)


def packed(value: Any) -> Any:
    """A value as Optuna can keep it: a list becomes JSON."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def settings_of(params: Mapping[str, Any], space: Mapping[str, Range | tuple[Any, ...]]) -> dict[str, Any]:
    """The values that Optuna drew, as the config has them, in the order of the space."""

    def chosen(key: str, choice: Range | tuple[Any, ...]) -> Any:
        return params[key] if isinstance(choice, Range) else next(each for each in choice if packed(each) == params[key])

    return {key: chosen(key, choice) for key, choice in space.items()}


def study_name(project: str, *marks: Any) -> str:
    """A name that changes with all that makes figures incomparable."""
    return f"{project}-{digest(list(marks))[:12]}"


def _pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)
    return optuna.pruners.HyperbandPruner(min_resource=2) if name == "hyperband" else optuna.pruners.NopPruner()


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def _is_dead(trial: FrozenTrial) -> bool:
    """Whether the process that ran a trial is gone from this machine; of others one cannot know."""
    who = trial.user_attrs
    if "began" not in who:
        return trial.datetime_start is None or (datetime.now() - trial.datetime_start).total_seconds() > _GRACE
    if who["host"] != socket.gethostname():
        return False
    try:
        return bool(psutil.Process(who["pid"]).create_time() != who["began"])
    except psutil.NoSuchProcess:
        return True
