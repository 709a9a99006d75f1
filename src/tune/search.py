"""Run trials one after the other until there are enough, and write down what they taught."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from optuna.trial import Trial, TrialState
from tqdm.auto import tqdm

from src.core.config import essence
from src.core.errors import ConfigError, MlxError, did_you_mean
from src.core.log import ROOT, logged_to
from src.core.project import Project
from src.core.stage import folder as stage_folder
from src.tune import Range, TuneConfig, Tuned, folder
from src.tune.report import table, write_best, write_plots, write_trials
from src.tune.study import Study, packed, settings_of, study_name
from src.tune.trial import Failed, run_trial
from src.tune.variant import stage, stages, variant

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOPELESS = 3
"""Trials that may fail one after another before the search stops."""


class Search:
    """One run of `mlx tune`."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.config = cast(TuneConfig, project.section("tune"))
        self.output = folder(project.name)
        self.log = ROOT.getChild("tune")

    def do(self) -> Tuned:
        """Search to the end; the report is written after each trial."""
        own = dict(self._own())
        self._check(own)
        self.output.mkdir(parents=True, exist_ok=True)
        log, file = Path("log") / self.project.name / "tune.log", self.output / "study.db"
        with logged_to(log), Study(self.config, file=file, name=self._name(own), seed=self.project.head.seed) as study:
            return self._search(study, own)

    def _search(self, study: Study, own: dict[str, Any]) -> Tuned:
        study.take_up()
        if all(_within(choice, own[key]) for key, choice in self.config.space.items()):
            study.first(own)
        else:
            self.log.warning("the config's own values lie outside tune.space: nothing tells whether the best is better than they")
        if done := study.finished:
            self.log.info("going on after %d trials", done)
        try:
            self._trials(study, own)
        finally:
            found = self._report(study, own)
            if found:
                write_plots(self.output, study.optuna, study.trials(), self.config)
        if found is None:
            raise MlxError("no trial ended with a figure", f"look into log/{self.project.name}/tune/")
        return found

    def _own(self) -> "Iterator[tuple[str, Any]]":
        """The config's own values of the keys in the space."""
        for key in self.config.space:
            value: Any = self.project.head if key in type(self.project.head).model_fields else self.project.sections.get(key.split(".")[0])
            for name in key.split(".")[key not in type(self.project.head).model_fields :]:
                value = value[int(name)] if isinstance(value, tuple) else getattr(value, name, None)
            yield key, list(value) if isinstance(value, tuple) else value

    def _check(self, own: dict[str, Any]) -> None:
        """Find every setting that is none, before the first trial; one that does not go with others fails its trial alone."""
        faults: list[str] = []
        for key, choice in {**self.config.space, **self.config.settings}.items():
            values = (choice.low, choice.high) if isinstance(choice, Range) else choice if key in self.config.space else (choice,)
            for value in values if isinstance(values, tuple) else (values,):
                try:
                    variant(self.project, {**self.config.settings, **own, key: value})
                except ConfigError as error:
                    where = self.project.layers.origin(("tune", "space" if key in self.config.space else "settings", key))
                    faults += [f"{where}: tune: {line.partition(': ')[2]}" for line in str(error).splitlines() if key in line]
        if faults:
            raise ConfigError("\n".join(dict.fromkeys(faults)))
        names = stages(self.project, {**self.config.space, **self.config.settings}, self.config.last)
        if self.config.last not in names:
            near = did_you_mean(self.config.last, self.project.sections)
            raise MlxError(f"tune.objective {self.config.objective!r}: the project has no section `{self.config.last}:`{near}")
        self._inputs = {role: [each.fingerprint for each in found] for role, found in stage(names[0]).inputs(self.project).items()}

    def _name(self, own: dict[str, Any]) -> str:
        """A study of its own for all that makes figures incomparable."""
        asked = (self.config.objective, self.config.direction, essence(self.config.space), essence(self.config.settings))
        names = stages(self.project, {**self.config.space, **self.config.settings}, self.config.last)
        fixed = [essence(self.project.section(name)) for name in names]
        for key in own:
            _forget(dict(zip(names, fixed, strict=True)), key.split("."))
        return study_name(self.project.name, asked, fixed, self._inputs, self.project.head.seed if "seed" not in own else "")

    def _trials(self, study: Study, own: dict[str, Any]) -> None:
        bar = tqdm(total=self.config.trials, initial=study.finished, unit="trial", desc="tune", leave=False)
        failures = 0
        while study.begun < self.config.trials:
            trial = study.ask()
            try:
                ended = self._one(study, trial)
            except BaseException:
                study.again(trial.number, trial.params)
                raise
            failures = 0 if ended else failures + 1
            if failures == _HOPELESS and not study.best():
                why = study.trials()[-1].user_attrs["error"]
                raise MlxError(f"the first {failures} trials failed, the last with: {why}", f"look into log/{self.project.name}/tune/")
            best = study.best()
            bar.set_postfix_str(f"best {best.value:.4g}" if best else "", refresh=False)
            bar.update(1)
            self._tidy(study)
            self._report(study, own)
        bar.close()

    def _one(self, study: Study, trial: Trial) -> bool:
        """Run a trial; tell the study, and whether it ended with a figure."""
        settings = settings_of(trial.params, self.config.space)
        place = len(study.trials()) - 1
        shown = ", ".join(f"{key}={_short(value)}" for key, value in settings.items())
        if known := study.same(trial):
            study.optuna.tell(trial, known.value if known.state == TrialState.COMPLETE else None, state=known.state)
            self.log.info("trial %d: %s  as in an earlier trial", place, shown)
            return True
        steps = 0

        def report(value: float) -> bool:
            nonlocal steps
            steps += 1
            trial.report(value, steps)
            return self.config.pruner != "none" and trial.should_prune()

        try:
            value = run_trial(self.project, {**self.config.settings, **settings}, self.config.objective, report=report)
        except (ConfigError, Failed) as error:
            study.failed(trial, str(error))
            self.log.warning("trial %d: %s  failed: %s", place, shown, error)
            return False
        study.optuna.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)
        self.log.info("trial %d: %s  %s", place, shown, "given up early" if value is None else f"{self.config.objective} {value:.5g}")
        return True

    def _tidy(self, study: Study) -> None:
        """Keep the outputs of the best trial alone: figures of the others are in the study."""
        best = study.best()
        for each in study.trials():
            if each.state in (TrialState.COMPLETE, TrialState.PRUNED) and (best is None or each.params != best.params):
                name = variant(self.project, {**self.config.settings, **settings_of(each.params, self.config.space)}).name
                for place in (stage_folder(name, "train").parent, stage_folder(name, "build").parent):
                    shutil.rmtree(place, ignore_errors=True)

    def _report(self, study: Study, own: dict[str, Any]) -> Tuned | None:
        """Write down what is known so far."""
        found = study.best()
        if found is None:
            return None
        trials = study.trials()
        mine = {key: packed(value) for key, value in own.items()}
        default = next((each for each in trials if each.params == mine and each.value is not None), None)
        write_trials(self.output / "trials.csv", trials, self.config)
        file = self.output / "best.yaml"
        write_best(file, self.project, found, settings_of(found.params, self.config.space), default, self.config.objective)
        return Tuned(file, table(trials, self.config, default), found.value or 0.0, default.value if default else None)


def _within(choice: Any, value: Any) -> bool:
    if isinstance(choice, Range):
        return choice.holds(value)
    return value in [list(each) if isinstance(each, tuple) else each for each in choice]


def _forget(sections: Any, keys: list[str]) -> None:
    """Take the value at `keys` out of nested dicts and lists."""
    for key in keys[:-1]:
        sections = sections[int(key)] if isinstance(sections, list) else sections.get(key, {}) if isinstance(sections, dict) else {}
    if isinstance(sections, dict):
        sections.pop(keys[-1], None)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
