"""Train in several processes, on the GPUs of one machine or of several: start them, stop them together, leave no orphan."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import IO, TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.core.files import write_text
from src.train.checkpoints import newest

if TYPE_CHECKING:
    from src.core.run import Run
    from src.train import TrainConfig
    from src.train.launch import Launch

WORKER = "MLX_WORKER"
"""Environment variable that only processes started here have."""
MEETING = "MLX_MEETING"
"""Environment variable: the file where the processes of one machine meet."""
STOP = b"stop\n"
_PERIOD = 0.2


def together(config: "TrainConfig", run: "Run") -> None:
    """Have the training done by processes of its own, up to its last checkpoint.

    Raises:
        KeyboardInterrupt: Where it was asked to stop; a checkpoint is there.
        MlxError: Where a process failed or was killed.
    """
    from src.train.base import find_base

    found = newest(run.work / "checkpoints")
    if found and found.last:
        return
    find_base(config, run)  # made once, where it has to be made
    whole = config.launch
    job = run.work / f"job{whole.node}.json"
    inputs = {role: [each.path.as_posix() for each in found] for role, found in run.inputs.items()}
    about = {"stage": run.stage, "name": run.name, "seed": run.seed, "work": run.work.as_posix(), "cache": run.cache.as_posix()}
    write_text(job, json.dumps({"config": config.model_dump(mode="json", exclude_unset=True), "inputs": inputs, **about}))
    common = {
        **_meeting(whole, run.work),
        "WORLD_SIZE": str(whole.world),
        "LOCAL_WORLD_SIZE": str(whole.processes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // whole.processes)),
    }
    run.log.info("training in %d processes%s", whole.world, f" on {whole.nodes} machines" if whole.nodes > 1 else "")
    workers = [_start(job, local, whole, common) for local in range(whole.processes)]
    try:
        with _passed_on(workers) as asked:
            failed = _wait(workers)
    finally:
        _end(workers)
    if asked:
        raise KeyboardInterrupt
    if failed:
        raise failed.error()


class _Worker:
    """A process that trains; it ends when its standard input does, so that it never outlives this one."""

    def __init__(self, rank: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.rank = rank
        self.process = process
        self.log = log

    def error(self) -> MlxError:
        """What it died of."""
        code = self.process.returncode
        if code < 0:
            what = f"process {self.rank} of the training was killed by {signal.Signals(-code).name}"
            return MlxError(what, "the same command goes on from the last checkpoint")
        text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        message, _, hint = text.rpartition("error: ")[2].partition("\nhint: ")
        return MlxError(message or f"process {self.rank} of the training ended with code {code}", hint or f"see {self.log}")


def _start(job: Path, local: int, whole: "Launch", common: dict[str, str]) -> _Worker:
    rank = whole.node * whole.processes + local
    log = job.with_name(f"rank{rank}.log")
    own = {"RANK": str(rank), "LOCAL_RANK": str(local), WORKER: "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "src.train.worker", str(job)],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=None if rank == 0 else stream,
            env={**os.environ, **common, **own},
            start_new_session=True,  # Ctrl-C comes to this process alone, which passes it on once
        )
    return _Worker(rank, process, log)


@contextmanager
def _passed_on(workers: list[_Worker]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the workers in the block; a second one ends it. Yields the signals that came."""
    came: list[int] = []

    def ask(number: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        for worker in workers:
            _tell(worker)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _tell(worker: _Worker) -> None:
    stream: IO[bytes] | Any = worker.process.stdin
    try:
        stream.write(STOP)
        stream.flush()
    except OSError:  # it has ended already
        return


def _wait(workers: list[_Worker]) -> _Worker | None:
    """Return when all have ended, or the one that has failed; of several the one that was killed or knows why: the others miss it."""
    while True:
        codes = [each.process.poll() for each in workers]
        failed = [(code > 0, -code, rank) for rank, code in enumerate(codes) if code]
        if failed:
            return workers[min(failed)[2]]
        if None not in codes:
            return None
        sleep(_PERIOD)


def _end(workers: list[_Worker]) -> None:
    """Kill what still runs: without the one that is gone it would wait for ever."""
    for each in workers:
        if each.process.poll() is None:
            each.process.kill()
    for each in workers:
        each.process.communicate()


def _meeting(whole: "Launch", work: Path) -> dict[str, str]:
    """Where the processes find each other: on one machine a file, and nothing that listens to the network."""
    if whole.nodes > 1:
        host, port = whole.address.split(":")
        return {"MASTER_ADDR": host, "MASTER_PORT": port}
    meeting = work.absolute() / "meeting"
    meeting.unlink(missing_ok=True)
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {MEETING: meeting.as_uri(), "GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
