"""Start `python -m MODULE` as a fork of the tests' own process, which has imported torch and the rest: 8 CPU-seconds a process less."""

import logging
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from pathlib import Path


class Forked(subprocess.Popen):
    """As `subprocess.Popen`, for commands of that form alone; pipes, session and environment are those of a process started anew."""

    def _execute_child(self, args, *others):
        environment, pipes, new_session = others[5], others[9:15], others[20]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # later Pythons dislike a fork beside threads, which do nothing here
            self.pid = os.fork()
        if self.pid == 0:
            try:
                code = _become(args, environment, [pipes[0], pipes[3], pipes[5]], new_session=new_session)
            except BaseException:
                traceback.print_exc()
                code = 1
            os._exit(code)
        self._child_created = True
        self._close_pipe_fds(*pipes)


def _become(args, environment, standard, *, new_session):
    if new_session:
        os.setsid()
    for number, descriptor in enumerate(standard):
        if descriptor != -1:
            os.dup2(descriptor, number)
    os.closerange(3, 4096)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    _forget()
    assert args[1] == "-m"
    Path("/proc/self/comm").write_text(f"rank{os.environ.get('RANK', '-')}")
    sys.argv = ["", *args[3:]]
    try:
        runpy.run_module(args[2], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _forget():
    """What the tests' process had set up for itself."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    warnings.simplefilter("ignore")
    for name in (None, "mlx"):
        logging.getLogger(name).handlers.clear()
