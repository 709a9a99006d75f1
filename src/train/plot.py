"""Draw a training: loss over its steps, and below it learning rate, gradient norm and speed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from src.core.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = (
    ("learning_rate", "learning rate", "tab:green"),
    ("grad_norm", "gradient norm", "tab:purple"),
    ("tokens_all_per_second", "tokens per second", "tab:brown"),
)
_MANY = 40
"""Points above which a noisy curve is drawn faintly, under its mean."""


def plot(rows: Sequence[dict[str, float]], path: "Path", *, title: str, unit: str = "nats per learned token") -> None:
    """Write a PNG: training and validation loss (in `unit`), learning rate, gradient norm, tokens per second."""
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    panels: dict[str, Any] = figure.subplot_mosaic([["loss"] * 3, [name for name, _, _ in _SMALL]], height_ratios=[2, 1])
    loss = panels["loss"]
    _curve(loss, rows, "loss", "tab:blue", label="training loss")
    steps, measured = _points(rows, "validation_loss")
    loss.plot(steps, measured, color="tab:orange", marker="o", markersize=4, label="validation loss")
    loss.set(title=title, xlabel="optimizer step", ylabel=f"loss ({unit})", ylim=_limits(rows))
    loss.legend(loc="upper right")
    for name, label, colour in _SMALL:
        _curve(panels[name], rows, name, colour)
        panels[name].set(title=label, ylim=(0, None))
        panels[name].title.set_fontsize("medium")
        if name == "learning_rate":
            panels[name].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for panel in panels.values():
        panel.grid(alpha=0.3)
    with atomic(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)


def _curve(panel: Any, rows: Sequence[dict[str, float]], name: str, colour: str, label: str | None = None) -> None:
    steps, values = _points(rows, name)
    many = len(values) > _MANY and name != "learning_rate"
    panel.plot(steps, values, color=colour, linewidth=0.8, alpha=0.35 if many else 1, label=label)
    if many:
        panel.plot(steps, _smooth(values, len(values) // 20), color=colour, linewidth=1.6, label=label and f"{label}, smoothed")


def _limits(rows: Sequence[dict[str, float]]) -> tuple[float, float | None]:
    """From 0, or a little below what goes below it, as a reward or a log-likelihood does."""
    lowest = min((row[name] for row in rows for name in ("loss", "validation_loss") if name in row), default=0)
    return (0 if lowest >= 0 else lowest * 1.05), None


def _points(rows: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in points], [value for _, value in points]


def _smooth(values: Sequence[float], width: int) -> list[float]:
    """Mean over the `width` values up to each."""
    return [sum(part) / len(part) for part in (values[max(0, n - width + 1) : n + 1] for n in range(len(values)))]
