"""Draw how long the examples of a dataset are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from src.build.split import SPLITS
from src.core.files import atomic

_COLOURS = {"train": "#1f6fb4", "validation": "#e08a1e", "test": "#3a9d5d"}


def plot_lengths(found: Mapping[str, Any], path: Path, *, title: str, limit: int) -> None:
    """Write a PNG of what `lengths` counted: the share of rows by tokens, a panel for each split, and the longest allowed."""
    splits = [split for split in SPLITS if found["splits"].get(split, {}).get("rows")]
    figure = Figure(figsize=(8, 1.2 + 1.9 * max(1, len(splits))), layout="constrained")
    panels = figure.subplots(max(1, len(splits)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, split in zip(panels, splits, strict=False):
        part, width = found["splits"][split], found["width"]
        places = [width * number for number in range(len(part["counts"]))]
        axes.bar(places, [count / part["rows"] for count in part["counts"]], width=width, align="edge", color=_COLOURS[split], linewidth=0)
        for name, style in (("p50", "-"), ("p90", "--"), ("p99", ":")):
            axes.axvline(part[name], color="0.25", linestyle=style, linewidth=1, label=f"{name} {part[name]:,}")
        axes.set_title(f"{split}: {part['rows']:,} rows, {part['tokens']:,} tokens, longest {part['longest']:,}", fontsize=9, loc="left")
        axes.set(ylabel="share of rows", xlim=(0, None))
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=8, loc="upper left")
    panels[-1].set_xlabel(f"tokens a row{'' if found['exact'] else ' (estimated)'}; at most {limit:,} allowed")
    figure.suptitle(title, fontsize=11)
    with atomic(path, "wb") as stream:
        figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
