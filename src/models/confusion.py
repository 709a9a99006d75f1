"""Draw which classes are taken for which."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from src.core.files import atomic


def plot_confusion(counts: Sequence[Sequence[int]], labels: Sequence[str], path: Path, *, title: str) -> None:
    """Write a PNG: true classes down, predicted ones across; each cell its rows, and their share of the true class."""
    size = 2.6 + 0.85 * len(labels)
    canvas = Figure(figsize=(size, size * 0.9), layout="constrained")
    axis = canvas.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            share = shares[row][column]
            axis.text(column, row, f"{count}\n{share:.0%}", ha="center", va="center", fontsize=8, color="white" if share > 0.5 else "black")
    axis.set_xticks(range(len(labels)), labels, rotation=30, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel="predicted", ylabel="truly", title=title)
    with atomic(path, "wb") as stream:  # no version inside: the same counts give the same bytes
        canvas.savefig(stream, format="png", dpi=120, metadata={"Software": None})
