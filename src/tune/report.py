"""What a search taught: the best config as YAML, a table, plots of its course and of what matters."""

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import optuna
import yaml
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from src.core.files import atomic, write_text
from src.core.grid import grid
from src.core.layers import assign
from src.core.project import Project
from src.text.spreadsheet import harmless
from src.tune import Range, TuneConfig
from src.tune.study import packed

_SHOWN = 12
"""Trials in the table."""
_STATES = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "given up",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def table(trials: Sequence[FrozenTrial], config: TuneConfig, default: FrozenTrial | None) -> str:
    """The trials, best first, then those without a figure."""
    sign = 1 if config.direction == "minimize" else -1
    ended = [each for each in trials if each.state == TrialState.COMPLETE and each.value is not None]
    order = sorted(ended, key=lambda each: sign * (each.value or 0.0)) + [each for each in trials if each not in ended]
    places = {each.number: place for place, each in enumerate(trials)}
    rows = []
    for each in order[:_SHOWN]:
        value = f"{each.value:.5g}" if each in ended else "–"
        note = "the config's own" if default and each.number == default.number else _STATES[each.state] if each not in ended else ""
        rows.append([places[each.number], value, *(_short(each.params.get(key)) for key in config.space), f"{_seconds(each):.0f}", note])
    more = f"\n… and {len(order) - _SHOWN} more in trials.csv" if len(order) > _SHOWN else ""
    return grid(rows, ["trial", config.objective, *config.space, "s", ""], right=range(len(config.space) + 3)) + more


def write_trials(path: Path, trials: Sequence[FrozenTrial], config: TuneConfig) -> None:
    """Write every trial as a line of CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", config.objective, *config.space, "seconds", "why"])
    for place, each in enumerate(trials):
        value = each.value if each.state == TrialState.COMPLETE else ""
        params = [each.params.get(key, "") for key in config.space]
        writer.writerow(
            [place, _STATES[each.state], value, *params, round(_seconds(each), 1), harmless(str(each.user_attrs.get("error", "")))]
        )
    write_text(path, stream.getvalue())


def write_best(
    path: Path, project: Project, best: FrozenTrial, settings: Mapping[str, Any], default: FrozenTrial | None, objective: str
) -> None:
    """Write the project with the best settings: a file to train, evaluate and serve from."""
    values = deepcopy(project.layers.values)
    for key, value in settings.items():
        assign(values, tuple(int(each) if each.isdigit() else each for each in key.split(".")), value)
    against = f", {default.value:.6g} with the settings it began from" if default and default.number != best.number else ""
    chosen = "\n".join(f"#   {key}: {value}" for key, value in settings.items())
    note = f"# The best of a search over {project.file.as_posix()}: {objective} {best.value:.6g}{against}\n{chosen}\n"
    write_text(path, note + yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=120))


def write_plots(folder: Path, study: optuna.Study, trials: Sequence[FrozenTrial], config: TuneConfig) -> None:
    """Write history.png, slices.png and, once it can be told, importance.png."""
    ended = [each for each in trials if each.state == TrialState.COMPLETE and each.value is not None]
    _save(_history(trials, config), folder / "history.png")
    _save(_slices(ended, config), folder / "slices.png")
    if len(ended) > 2 and len({each.value for each in ended}) > 1 and len(config.space) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            shares = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
        _save(_importance(shares, len(ended)), folder / "importance.png")


def _history(trials: Sequence[FrozenTrial], config: TuneConfig) -> Figure:
    """Each trial's figure, the best so far, and the courses that the pruner saw."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    done = [(place, each.value) for place, each in enumerate(trials) if each.state == TrialState.COMPLETE]
    better = min if config.direction == "minimize" else max
    left.plot(*zip(*done, strict=True), "o", color="tab:blue", label="trial")
    best = [(place, better(value for _, value in done[: n + 1])) for n, (place, _) in enumerate(done)]
    left.step(*zip(*best, strict=True), where="post", color="tab:orange", label="best so far")
    for place, each in enumerate(trials):
        if each.state in (TrialState.PRUNED, TrialState.FAIL):
            left.axvline(place, color="0.85", zorder=0)
        if course := sorted(each.intermediate_values.items()):
            look = {"color": "0.6", "ls": ":"} if each.state == TrialState.PRUNED else {"color": "tab:blue"}
            right.plot(*zip(*course, strict=True), marker=".", alpha=0.7, **look)
    left.set(xlabel="trial (grey: given up or failed)", ylabel=config.objective, title="history")
    left.legend()
    right.set(xlabel="evaluation within the training", ylabel=config.objective, title="courses (dotted: given up)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _slices(ended: Sequence[FrozenTrial], config: TuneConfig) -> Figure:
    """The figure over each setting."""
    figure = Figure(figsize=(3.4 * len(config.space), 3.6), layout="constrained")
    figures = [each.value for each in ended]
    for axes, (key, choice) in zip(figure.subplots(1, len(config.space), squeeze=False, sharey=True)[0], config.space.items(), strict=True):
        values = [each.params[key] for each in ended]
        if isinstance(choice, Range):
            axes.set_xscale("log" if choice.log else "linear")
        else:
            names = [str(each) for each in choice]
            axes.set_xticks(range(len(names)), names)
            values = [list(map(packed, choice)).index(value) for value in values]
        axes.scatter(values, figures, c=range(len(ended)), cmap="viridis")
        axes.tick_params(axis="x", which="both", rotation=30)
        axes.set(xlabel=key)
        axes.grid(alpha=0.3)
    figure.supylabel(config.objective, fontsize="medium")
    figure.suptitle("settings (later trials lighter)")
    return figure


def _importance(shares: Mapping[str, float], trials: int) -> Figure:
    figure = Figure(figsize=(7, 1 + 0.5 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color="tab:blue")
    axes.set(xlabel="share of the figure's variation (PED-ANOVA)", title=f"importance, from {trials} trials", xlim=(0, 1))
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
