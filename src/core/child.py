"""A worker process ends with the one that started it, and leaves Ctrl-C to that one."""

import contextlib
import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Call first in a worker of a pool: it ends when its parent does, also where that is killed; Ctrl-C is for the parent."""
    threading.Thread(target=_wait, daemon=True).start()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _wait() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
