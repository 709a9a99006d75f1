"""Pictures of an evaluation: intervals of each figure, who is taken for whom, whether probabilities hold, how long answers are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.eval.panels import INK, matrix, ranges, reliability, spread

_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mlx",  # the same figures give the same bytes
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor"), INK),
}


def plots(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """Draw all there is to draw, each as PNG and as SVG; return the names of the PNG files."""
    with rc_context(_STYLE):
        drawn = {"figures": _figures(found), "style_judge": _style(found), "confusion": _classes(found), "lengths": _lengths(found)}
        return [_save(canvas, folder / f"{name}.png") for name, canvas in drawn.items() if canvas]


def _figures(found: Mapping[str, Any]) -> Figure | None:
    """Every figure with its interval: shares on one axis, errors on another, perplexities on a third."""
    shares = [figure for figure in found["metrics"] if figure["better"] == "higher"]
    others = [figure for figure in found["metrics"] if figure["better"] == "lower"]
    errors = [figure for figure in others if not figure["name"].startswith("perplexity")]
    panels = [panel for panel in (shares, errors, [figure for figure in others if figure not in errors]) if panel]
    if not panels:
        return None
    models = max(len(figure["models"]) for figure in found["metrics"])
    heights = [len(panel) + 0.8 for panel in panels]
    canvas = Figure(figsize=(8, 1.2 + max(0.55, 0.28 * models) * sum(heights)), layout="constrained")
    axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        ranges(axis, panel)
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, models), frameon=False)
    return canvas


def _style(found: Mapping[str, Any]) -> Figure | None:
    """The style judges on documents they had not seen."""
    if not (detail := found["detail"].get("style")):
        return None
    canvas = Figure(figsize=(9.6, 3.5), layout="constrained")
    first, second, third = canvas.subplots(1, 3)
    names = ["other", "persona"]
    matrix(first, detail["confusion"], names, title="Style judge, unseen text")
    matrix(second, detail["delta"]["confusion"], names, title="Burrows' Delta, unseen text")
    reliability(third, detail["calibration"]["bins"], title="Are its probabilities to be believed?")
    return canvas


def _classes(found: Mapping[str, Any]) -> Figure | None:
    """A classifier's confusion matrix and calibration."""
    if not (detail := found["detail"].get("classification")):
        return None
    size = 2.4 + 0.62 * len(detail["labels"])
    canvas = Figure(figsize=(size + 3.8, max(3.4, size)), layout="constrained")
    first, second = canvas.subplots(1, 2, width_ratios=[size, 3.4])
    matrix(first, detail["confusion"], detail["labels"], title=f"{found['settings']['split']} rows")
    reliability(second, detail["calibration"], title="Is it right as often as it is sure?")
    return canvas


def _lengths(found: Mapping[str, Any]) -> Figure | None:
    """Words of each model's answers beside the reference's."""
    if not (told := found.get("lengths")):
        return None
    canvas = Figure(figsize=(8, 0.9 + 0.34 * len(told)), layout="constrained")
    spread(canvas.subplots(), told)
    return canvas


def _save(canvas: Figure, path: Path) -> str:
    FigureCanvasAgg(canvas)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120, metadata={"Software": None})  # no version and no date inside
    canvas.savefig(path.with_suffix(".svg"), transparent=True, metadata={"Date": None, "Creator": None})
    return path.name
