"""Tables of text for the terminal."""

from collections.abc import Sequence


def grid(rows: Sequence[Sequence[object]], header: Sequence[str], right: Sequence[int] = ()) -> str:
    """Lay out rows under a header in columns as wide as they need; the columns `right` are flush right."""
    cells = [list(header), *[[str(value) for value in row] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    lines = ["  ".join(_pad(text, widths[i], i in right) for i, text in enumerate(line)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _pad(text: str, width: int, flush_right: bool) -> str:
    return text.rjust(width) if flush_right else text.ljust(width)


def age(seconds: float) -> str:
    """A time span in its largest unit: `40 s`, `3 min`, `5 h`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
