"""Let Ctrl-C (or a SIGTERM) end a training after its current step, with a checkpoint; a SIGUSR1 only asks for the checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

DIE_AT = "MLX_DIE_AT_STEP"
"""Environment variable: a step after which the process kills itself, for `--prove-resume`."""


class Interrupt:
    """What someone asked a training to do."""

    def __init__(self) -> None:
        self.asked = False
        """To stop, with a checkpoint."""
        self.save = False
        """To write a checkpoint, and go on."""
        self._fatal = int(os.environ.get(DIE_AT, "0"))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch for signals in the block; a second one ends it at once. Elsewhere than in the main thread it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._ask) for each in (signal.SIGINT, signal.SIGTERM)}
        if user := getattr(signal, "SIGUSR1", None):
            before[user] = signal.signal(user, self._ask_save)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def survive(self, step: int) -> None:
        """Die here, unsaved, where this is the step that was chosen for it."""
        if step == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _ask_save(self, number: int, frame: FrameType | None) -> None:
        self.save = True
