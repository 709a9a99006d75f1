"""Pictures of an evaluation: each figure's interval before and after, and what the style judge mixes up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.models.confusion import plot_confusion as draw_classes

_COLOURS = ("#8a8f98", "#1f6fb4", "#c4622d", "#3c8d5a", "#8a5aa8", "#b8912f")


def plot_figures(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """Draw every figure with its interval, shares on one axis and perplexities on another; return the files' names."""
    shares = [figure for figure in found["metrics"] if figure["better"] == "higher"]
    others = [figure for figure in found["metrics"] if figure["better"] == "lower"]
    errors = [figure for figure in others if not figure["name"].startswith("perplexity")]
    panels = [panel for panel in (shares, errors, [figure for figure in others if figure not in errors]) if panel]
    if not panels:
        return []
    models = max(len(figure["models"]) for figure in found["metrics"])
    heights = [len(panel) + 0.8 for panel in panels]
    canvas = Figure(figsize=(8, 1.2 + max(0.62, 0.31 * models) * sum(heights)), layout="constrained")
    axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _panel(axis, panel)
    axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, models), frameon=False)
    return [_save(canvas, folder / "figures.png")]


def _panel(axis: Any, figures: Sequence[Mapping[str, Any]]) -> None:
    models = list(dict.fromkeys(model for figure in figures for model in figure["models"]))
    step, labelled = 0.64 / len(models), set()
    for place, figure in enumerate(reversed(figures)):
        for model, each in figure["models"].items():
            number = models.index(model)
            colour, first = _COLOURS[number % len(_COLOURS)], number == 0
            low, high = (each["value"] if end is None else end for end in (each["low"], each["high"]))
            reach = [[max(0.0, each["value"] - low)], [max(0.0, high - each["value"])]]
            label = None if model in labelled else model
            labelled.add(model)
            at = place + step * ((len(models) - 1) / 2 - number)
            axis.annotate(
                f"{each['value']:.3g}",
                (each["value"], at),
                (0, 5 if first else -5),
                textcoords="offset points",
                ha="center",
                va="bottom" if first else "top",
                fontsize=8,
                color=colour,
            )
            axis.errorbar([each["value"]], [at], xerr=reach, fmt="o", color=colour, capsize=4, markersize=6, label=label)
    axis.set_yticks(range(len(figures)), [figure["name"] for figure in reversed(figures)])
    axis.set_ylim(-0.6, len(figures) - 0.4)
    axis.grid(axis="x", color="#e3e5e8")
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    if figures[0]["better"] == "higher":
        ends = [each["low"] for figure in figures for each in figure["models"].values() if each["low"] is not None]
        axis.set_xlim(min([0.0, *ends]) - 0.03, 1.03)
        unit = "from -1 or 0 to 1" if figures[0]["name"].startswith("classification.") else "share of rows"
        axis.set_xlabel(f"{unit}, with 95 % interval (more is better)")
    elif not figures[0]["name"].startswith("perplexity"):
        axis.set_xlim(left=-0.01)
        axis.set_xlabel("error, with 95 % interval (less is better)")
    else:
        axis.set_xscale("log")
        axis.set_xlabel("perplexity, with 95 % interval (less is better)")


def plot_confusion(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """Draw the style judge's confusion matrix on documents it had not seen; return the file's name, if there is one."""
    if not (detail := found["detail"].get("style")):
        return []
    matrix = detail["confusion"]
    canvas = Figure(figsize=(4.6, 4.0), layout="constrained")
    axis = canvas.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, counts in enumerate(matrix):
        for column, count in enumerate(counts):
            share = shares[row][column]
            axis.text(column, row, f"{count}\n{share:.0%}", ha="center", va="center", color="white" if share > 0.5 else "black")
    axis.set_xticks([0, 1], ["other", "persona"])
    axis.set_yticks([0, 1], ["other", "persona"], rotation=90, va="center")
    axis.set_xlabel("judged")
    axis.set_ylabel("truly")
    axis.set_title("Style judge on unseen text")
    return [_save(canvas, folder / "style_judge.png")]


def plot_classes(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """Draw a classifier's confusion matrix; return the file's name, if there is one."""
    if detail := found["detail"].get("classification"):
        draw_classes(detail["confusion"], detail["labels"], folder / "confusion.png", title=f"{found['settings']['split']} rows")
        return ["confusion.png"]
    return []


def _save(canvas: Figure, path: Path) -> str:
    FigureCanvasAgg(canvas)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120, metadata={"Software": None})  # no version inside: the same figures give the same bytes
    return path.name
