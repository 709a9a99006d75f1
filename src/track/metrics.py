"""Numbers of each step as JSON lines, which an interrupted run goes on writing where it goes on training."""

import json
from collections.abc import Mapping
from pathlib import Path

from src.core.files import read_jsonl, to_json, write_jsonl


class Metrics:
    """Appends `{"step": …, name: value, …}` to the file `path`; what stands there beyond the step `upto` is cut off."""

    def __init__(self, path: Path, *, upto: int = 0) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= upto] if upto else []
        write_jsonl(path, kept)
        self.last: dict[str, float] = {name: value for row in kept for name, value in row.items()}
        """The newest value of each name."""
        self._stream = path.open("a", encoding="utf-8", newline="\n")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write a line; it is in the file when this returns."""
        self.last |= {"step": step, **values}
        self._stream.write(to_json({"step": step, **values}) + "\n")
        self._stream.flush()

    def close(self, output: str | None = None) -> None:
        """Close the file."""
        self._stream.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read the lines of a metrics file; one that was cut off by a kill is passed over, a file that is not there is empty."""
    try:
        return list(read_jsonl(path))
    except FileNotFoundError:
        return []
    except json.JSONDecodeError:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]
