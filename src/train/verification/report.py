"""Tells what a verification found: a table, verify.json and a picture."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from src.core.files import atomic, write_text
from src.core.grid import grid
from src.train.verification.comparison import Check

SCHEMA = 1
HEADER = ("what", "against", "tokens", "largest Δ", "mean Δ", "allowed", "verdict")


@dataclass
class Report:
    """What was compared, and what was not."""

    about: dict[str, Any]
    """Model, rows, versions: what verify.json begins with."""
    checks: list[Check] = field(default_factory=list)
    unchecked: list[tuple[str, str]] = field(default_factory=list)
    """What was not compared, and the command that makes it possible."""

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.verdict != "fail" for check in self.checks)

    def lines(self) -> Iterator[str]:
        """For the screen."""
        yield grid([check.cells() for check in self.checks], HEADER, right=(2, 3, 4, 5))
        for check in self.checks:
            if check.first:
                yield f"\nfirst difference: {check.name} against {check.against}"
                yield from check.first.lines()
        for what, command in self.unchecked:
            yield f"\nnot checked: {what}\n  {command}"

    def write(self, folder: Path) -> None:
        """Write verify.json and verify.png."""
        plotted = [check for check in self.checks if check.values]
        if plotted:
            _plot(plotted, folder / "verify.png", self.about["model"])
        told = {
            "schema": SCHEMA,
            "verdict": "pass" if self.passed else "fail",
            **self.about,
            "checks": [check.as_json() for check in self.checks],
            "not_checked": [what for what, _ in self.unchecked],
        }
        write_text(folder / "verify.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _plot(checks: Sequence[Check], path: Path, title: str) -> None:
    """How far log-probabilities lie apart (left), and one against the other (right)."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for check in checks:
        expected, found = np.array(check.values).T
        apart = np.sort(np.maximum(np.abs(expected - found), 1e-8))
        label = f"{check.name} / {check.against}"
        left.plot(apart, np.linspace(0, 1, len(apart)), linewidth=1.6, label=label)
        right.scatter(expected, found, s=4, alpha=0.4, label=label, linewidths=0)
    left.set(xscale="log", xlabel="|Δ log-probability| (nats a token; 0 is drawn at 1e-8)", ylabel="share of tokens", title=title)
    left.grid(alpha=0.3)
    left.legend(fontsize=7, loc="lower right")
    low = min(right.get_xlim()[0], right.get_ylim()[0])
    right.plot([low, 0], [low, 0], color="0.5", linewidth=0.8, zorder=0)
    right.set(xlabel="expected log-probability", ylabel="found log-probability", title="every token")
    right.grid(alpha=0.3)
    with atomic(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)
