"""Send what the training libraries say to the log file, so that the console holds mlx's own lines."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

NAMES = ("accelerate", "bitsandbytes", "datasets", "huggingface_hub", "peft", "py.warnings", "torch", "transformers", "trl")


class Forward(logging.Handler):
    """Passes a library's line on to the log as a detail: the file has it, the console has it with `log_level: DEBUG`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the line under the library's name."""
        logging.getLogger(f"mlx.{record.name.split('.')[0]}").debug("%s: %s", record.levelname.lower(), record.getMessage().strip())


@contextmanager
def routed() -> Iterator[None]:
    """Route the log lines, warnings and progress bars of the libraries in the block; may be nested."""
    # transformers and the hub put up a console handler when they are first imported: before theirs are replaced
    import transformers.utils.logging

    with ExitStack() as stack:
        for name in NAMES:
            stack.enter_context(_forwarded(logging.getLogger(name)))
        stack.enter_context(_captured_warnings())
        stack.enter_context(_without_bars(transformers.utils.logging))
        yield


@contextmanager
def _forwarded(logger: logging.Logger) -> Iterator[None]:
    before, propagates = list(logger.handlers), logger.propagate
    logger.handlers, logger.propagate = [Forward()], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before, propagates


@contextmanager
def _captured_warnings() -> Iterator[None]:
    import warnings

    show = warnings.showwarning
    logging.captureWarnings(True)
    try:
        yield
    finally:
        if show.__module__ != "logging":
            logging.captureWarnings(False)


@contextmanager
def _without_bars(bars: Any) -> Iterator[None]:
    """Hide the bars over weights and rows; those over downloads stay."""
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
