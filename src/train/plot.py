"""Draw the loss and the learning rate of a training over its steps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from src.core.files import atomic


def plot(rows: Sequence[dict[str, float]], path: Path, *, title: str, unit: str = "nats per learned token") -> None:
    """Write a PNG: training and validation loss (`unit`) on the left axis, learning rate on the right one."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    rate = axes.twinx()
    steps, losses = _curve(rows, "loss")
    rate.plot(*_curve(rows, "learning_rate"), color="0.75", linewidth=1, label="learning rate")
    axes.plot(steps, losses, color="tab:blue", linewidth=0.8, alpha=0.35 if len(losses) > 40 else 1, label="training loss")
    if len(losses) > 40:
        axes.plot(steps, _smooth(losses, len(losses) // 20), color="tab:blue", linewidth=1.6, label="training loss, smoothed")
    axes.plot(*_curve(rows, "validation_loss"), color="tab:orange", marker="o", markersize=4, label="validation loss")
    axes.set(title=title, xlabel="optimizer step", ylabel=f"loss ({unit})", ylim=(0, None))
    axes.grid(alpha=0.3)
    rate.set(ylabel="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.set_zorder(rate.get_zorder() + 1)  # losses above the learning rate
    axes.patch.set_visible(False)
    handles = [each for axis in (axes, rate) for each in axis.get_lines() if np.size(each.get_xdata())]
    axes.legend(handles=handles, loc="upper right")
    with atomic(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)


def _curve(rows: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in points], [value for _, value in points]


def _smooth(values: Sequence[float], width: int) -> list[float]:
    """Mean over the `width` values up to each."""
    return [sum(part) / len(part) for part in (values[max(0, n - width + 1) : n + 1] for n in range(len(values)))]
