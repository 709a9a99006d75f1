"""Draw the figures on the validation split over the steps of a classifier's training."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from src.core.files import atomic

SHOWN = {"accuracy": "tab:blue", "macro_f1": "tab:orange", "mcc": "tab:green"}


def plot_scores(rows: Sequence[dict[str, float]], path: Path, *, title: str, best: int, commonest: float) -> None:
    """Write a PNG: accuracy, macro F1 and MCC, the step that was kept, and what naming the commonest class would reach."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    measured = [row for row in rows if "validation_accuracy" in row]
    steps = [row["step"] for row in measured]
    for name, colour in SHOWN.items():
        axes.plot(steps, [row[f"validation_{name}"] for row in measured], color=colour, marker="o", markersize=4, label=name)
    axes.axhline(commonest, color="0.6", linestyle="--", linewidth=1, label="accuracy of the commonest class")
    axes.axvline(best, color="0.6", linestyle=":", linewidth=1.2, label=f"kept: step {best}")
    lowest = min((row[f"validation_{name}"] for row in measured for name in SHOWN), default=0.0)
    axes.set(title=title, xlabel="optimizer step", ylabel="on the validation split", ylim=(min(0.0, lowest - 0.05), 1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    with atomic(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)
