"""The log: short lines on the console beside progress bars, everything with its time in a file."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.core.crash import redacted_crashes
from src.core.secrets import Redact

ROOT = logging.getLogger("mlx")


class ConsoleHandler(logging.Handler):
    """Writes to stderr without tearing a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        line = self.format(record)
        if "tqdm" not in sys.modules:  # then there is no bar
            sys.stderr.write(line + "\n")
            return
        from tqdm.auto import tqdm

        if getattr(tqdm, "_instances", None):
            tqdm.write(line, file=sys.stderr)
        else:
            sys.stderr.write(line + "\n")


def console(level: str = "INFO") -> None:
    """Let the log speak on the console; from then on neither it nor a crash tells a secret."""
    redacted_crashes()
    for old in [each for each in ROOT.handlers if isinstance(each, ConsoleHandler)]:
        ROOT.removeHandler(old)
    handler = ConsoleHandler(level)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handler.addFilter(Redact())
    ROOT.addHandler(handler)
    ROOT.setLevel(logging.DEBUG)
    ROOT.propagate = False


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Append everything logged in the block to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Redact())
    ROOT.addHandler(handler)
    ROOT.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        ROOT.removeHandler(handler)
        handler.close()


def peak_mb() -> float:
    """Peak resident memory of this process, in MB; where the system keeps no peak, what is resident now."""
    try:
        import resource
    except ImportError:
        import psutil

        memory = psutil.Process().memory_info()
        return round(getattr(memory, "peak_wset", memory.rss) / 1e6, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 1e6 if sys.platform == "darwin" else peak / 1e3, 1)
