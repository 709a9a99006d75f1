"""One of the processes of a training in several: `python -m src.train.worker JOB`, started by `launch`."""

import json
import os
import shutil
import signal
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import torch.distributed as dist

from src.core.errors import MlxError
from src.core.log import console, logged_to
from src.core.manifest import Manifest
from src.core.run import Run, Upstream
from src.core.secrets import load_env, redact
from src.core.seeds import seed_everything
from src.models.load import pick_device
from src.train.fit import CHECKPOINTS, METRICS
from src.train.ranks import rank, world
from src.train.together import MEETING, STOP


def main(job: Path) -> int:
    """Train as the job says; return the exit code."""
    threading.Thread(target=_listen, daemon=True).start()
    load_env()
    if rank() == 0:
        console(os.environ.get("LOG_LEVEL") or "INFO")
    about = json.loads(job.read_text(encoding="utf-8"))
    try:
        _train(about)
    except KeyboardInterrupt:
        return 0
    except MlxError as error:
        sys.stdout.write(redact(f"error: {error}\nhint: {error.hint}\n"))
        sys.stdout.flush()
        return 2
    return 0


def _train(about: dict[str, object]) -> None:
    from src.models.libraries import routed

    with routed():
        from src.train import TrainConfig, run_task
    work = _own_work(Path(str(about["work"])))
    output = work / f"rank{rank()}.output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    config = TrainConfig.model_validate(about["config"])
    inputs: dict[str, tuple[Upstream, ...]] = {}
    for role, paths in dict(about["inputs"]).items():  # type: ignore[call-overload]
        inputs[role] = tuple(_upstream(Path(path)) for path in paths)
    seed, cache = int(str(about["seed"])), Path(str(about["cache"]))
    run = Run(stage=str(about["stage"]), name=str(about["name"]), seed=seed, output=output, work=work, cache=cache, inputs=inputs)
    seed_everything(seed)
    _meet(on_cpu=pick_device(config.device) == "cpu")
    with run.ledger, logged_to(Path("log") / run.name / "train.log") if rank() == 0 else nullcontext():
        run_task(config, run)
    if dist.is_initialized():
        dist.destroy_process_group()  # while Python still stands: its threads, ended by the end of the process, now and then abort it


def _own_work(work: Path) -> Path:
    """A folder of its own for each process but the first, in which only what is read on going on is that of all."""
    if rank() == 0:
        return work
    own = work / f"rank{rank()}"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    (work / CHECKPOINTS).mkdir(exist_ok=True)
    for shared in (CHECKPOINTS, METRICS):
        (own / shared).symlink_to((work / shared).absolute())
    return own


def _meet(*, on_cpu: bool) -> None:
    """Join the other processes; the trainer takes over what it finds joined."""
    if MEETING in os.environ:
        backend = "gloo" if on_cpu else "nccl"
        dist.init_process_group(backend, init_method=os.environ[MEETING], rank=rank(), world_size=world())


def _upstream(path: Path) -> Upstream:
    manifest = Manifest.find(path) if path.is_dir() else None
    return Upstream(path, manifest.fingerprint if manifest else "", manifest)


def _listen() -> None:
    """Stop when told to; end at once when whoever started this is gone."""
    while told := os.read(0, len(STOP)):  # sys.stdin has a lock, which a thread must not hold when Python ends
        if told == STOP:
            signal.raise_signal(signal.SIGTERM)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
