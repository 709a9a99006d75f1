"""The panels that an evaluation's pictures are put together from, readable on light and on dark."""

from collections.abc import Mapping, Sequence
from typing import Any

INK = "#63676e"
"""Text and axes; the page puts its own text colour in its place."""
GRID = "#9aa0a866"
COLOURS = ("#8a8f98", "#1f77c4", "#c4622d", "#3c8d5a", "#8a5aa8", "#b8912f")
DEEP = COLOURS[1]
_DARKEST = 0.6  # of a cell: text over it stays readable


def ranges(axis: Any, figures: Sequence[Mapping[str, Any]]) -> None:
    """Figures of one kind with their intervals, a colour a model."""
    models = list(dict.fromkeys(model for figure in figures for model in figure["models"]))
    step, labelled = 0.64 / len(models), set()
    for place, figure in enumerate(reversed(figures)):
        for model, each in figure["models"].items():
            number = models.index(model)
            at = place + step * ((len(models) - 1) / 2 - number)
            _range(axis, each, at, colour=COLOURS[number % len(COLOURS)], label=None if model in labelled else model, above=number == 0)
            labelled.add(model)
    axis.set_yticks(range(len(figures)), [figure["name"] for figure in reversed(figures)])
    axis.set_ylim(-0.6, len(figures) - 0.4)
    _bare(axis, grid="x")
    _scale(axis, figures)


def _range(axis: Any, found: Mapping[str, Any], at: float, *, colour: str, label: str | None, above: bool) -> None:
    low, high = (found["value"] if end is None else end for end in (found["low"], found["high"]))
    reach = [[max(0.0, found["value"] - low)], [max(0.0, high - found["value"])]]
    axis.annotate(
        f"{found['value']:.3g}",
        (found["value"], at),
        (0, 5 if above else -5),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=8,
        color=colour,
    )
    axis.errorbar([found["value"]], [at], xerr=reach, fmt="o", color=colour, capsize=4, markersize=6, label=label)


def _scale(axis: Any, figures: Sequence[Mapping[str, Any]]) -> None:
    if figures[0]["better"] == "higher":
        ends = [each[end] for figure in figures for each in figure["models"].values() for end in ("low", "high") if each[end] is not None]
        axis.set_xlim(min([0.0, *ends]) - 0.03, max([1.0, *ends]) + 0.03)
        unit = "from -1 or 0 to 1" if figures[0]["name"].startswith("classification.") else "share of rows, or mean"
        axis.set_xlabel(f"{unit}, with 95 % interval (more is better)")
    elif not figures[0]["name"].startswith("perplexity"):
        axis.set_xlim(left=-0.01)
        axis.set_xlabel("error, with 95 % interval (less is better)")
    else:
        axis.set_xscale("log")
        axis.set_xlabel("perplexity, with 95 % interval (less is better)")


def matrix(axis: Any, counts: Sequence[Sequence[int]], labels: Sequence[str], *, title: str) -> None:
    """A confusion matrix: true classes down, judged ones across; each cell its rows, shaded by their share of the true class."""
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            share = count / max(1, sum(line))
            axis.add_patch(_cell(column, row, share))
            axis.text(column, row, f"{count}\n{share:.0%}", ha="center", va="center", fontsize=8)
    last = len(labels) - 0.5
    axis.set(xlim=(-0.5, last), ylim=(last, -0.5), xlabel="judged", ylabel="truly", title=title, aspect="equal")
    short = [label if len(label) <= 18 else f"{label[:17]}…" for label in labels]
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(labels) > 2 else {}
    axis.set_xticks(range(len(labels)), short, **slanted)
    axis.set_yticks(range(len(labels)), short)
    _bare(axis)
    axis.spines["bottom"].set_visible(False)
    axis.tick_params(length=0)


def _cell(column: int, row: int, share: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=(*_rgb(DEEP), 0.06 + (_DARKEST - 0.06) * share), linewidth=0)


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return red, green, blue


def reliability(axis: Any, bins: Sequence[Mapping[str, float]], *, title: str) -> None:
    """What was said against what was so, a dot a range of probabilities, larger the more rows it has; true to its word on the diagonal."""
    most = max((each["rows"] for each in bins), default=1)
    axis.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color=INK)
    sizes = [10 + 110 * each["rows"] / most for each in bins]
    axis.scatter([each["said"] for each in bins], [each["true"] for each in bins], s=sizes, color=DEEP, alpha=0.8, linewidths=0)
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability said", ylabel="share that was so", title=title, aspect="equal")
    _bare(axis, grid="both")


def spread(axis: Any, told: Mapping[str, Mapping[str, Any]]) -> None:
    """Words of answers: median, middle half, and all but the outer tenth, a line a model."""
    names = list(told)
    for place, name in enumerate(reversed(names)):
        least, low, middle, high, most = told[name]["words"]
        number = names.index(name) - 1  # the reference stands first, and has no colour of its own
        colour = INK if number < 0 else COLOURS[number % len(COLOURS)]
        axis.plot([least, most], [place, place], color=colour, linewidth=1.2)
        axis.plot([low, high], [place, place], color=colour, linewidth=6, alpha=0.55, solid_capstyle="butt")
        axis.plot([middle], [place], "o", color=colour, markersize=6)
        cut = told[name].get("cut", 0)
        if cut:
            axis.annotate(f"{cut:.0%} cut off", (most, place), (5, 0), textcoords="offset points", va="center", fontsize=8, color=colour)
    axis.set_yticks(range(len(names)), names[::-1])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlim(left=0)
    axis.margins(x=0.12)
    axis.set_xlabel("words an answer: median, middle half, all but the outer tenth")
    _bare(axis, grid="x")


def _bare(axis: Any, grid: str = "") -> None:
    if grid:
        axis.grid(axis=grid, color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
