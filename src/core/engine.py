"""Where the tasks of a stage run: threads of this machine, a Dask cluster, a Ray cluster; the bytes are the same."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field

from src.core.config import Config
from src.core.errors import MlxError

T = TypeVar("T")


class Workers(Protocol):
    """Runs tasks; each must write its result to a file, whole or not at all, and do nothing where that is there already."""

    def map(self, function: Callable[..., T], tasks: Iterable[Sequence[Any]]) -> Iterator[T]:
        """Call `function(*task)` for each task, at once as far as there are workers; results in the order of the tasks."""
        ...


class LocalEngine(Config):
    """Threads of this process: for work that holds no interpreter lock."""

    type: Literal["local"] = "local"
    threads: int = Field(default=0, ge=0)
    """How many; 0 means one for each core."""

    @contextmanager
    def open(self) -> Iterator[Workers]:
        """Start the threads; they end with the block."""
        from concurrent.futures import ThreadPoolExecutor

        count = self.threads or cores()
        with ThreadPoolExecutor(count, thread_name_prefix="mlx") as pool:
            yield _Threads(pool, count)


class DaskEngine(Config):
    """Processes of a Dask cluster; tasks of a lost worker run again on another."""

    type: Literal["dask"] = "dask"
    address: str | None = None
    """Scheduler to go to, such as `tcp://head:8786`; without one a cluster is started on this machine."""
    workers: int = Field(default=0, ge=0)
    """Processes to start where there is no address; 0 means one for each core."""
    shared: str | None = None
    """Folder that all machines reach, or a URL such as `s3://…` that fsspec knows, for what tasks hand each other; else the stage's own."""

    @contextmanager
    def open(self) -> Iterator[Workers]:
        """Connect to the cluster, or start one."""
        try:
            from dask import config
            from distributed import Client, LocalCluster
        except ImportError:
            raise _missing("dask") from None
        with config.set({"distributed.scheduler.allowed-failures": 10, "distributed.worker.daemon": False}):
            if self.address:
                with Client(self.address) as client:
                    yield _Dask(client)
                return
            options = {"n_workers": self.workers or cores(), "threads_per_worker": 1, "dashboard_address": None}
            with LocalCluster(**options, memory_limit=0, host="127.0.0.1") as cluster, Client(cluster) as client:
                yield _Dask(client)


class RayEngine(Config):
    """Processes of a Ray cluster; tasks of a lost worker run again on another."""

    type: Literal["ray"] = "ray"
    address: str | None = None
    """Cluster to go to, such as `ray://head:10001` or `auto`; without one Ray is started on this machine."""
    workers: int = Field(default=0, ge=0)
    """Processes to start where there is no address; 0 means one for each core."""
    shared: str | None = None
    """Folder that all machines reach, or a URL such as `s3://…` that fsspec knows, for what tasks hand each other; else the stage's own."""

    @contextmanager
    def open(self) -> Iterator[Workers]:
        """Connect to the cluster, or start one."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise _missing("ray") from None
        own: dict[str, Any] = {"num_cpus": self.workers or cores(), "include_dashboard": False, "object_store_memory": 100 << 20}
        ray.init(address=self.address, log_to_driver=False, **({} if self.address else own))
        try:
            yield _Ray(ray)
        finally:
            ray.shutdown()


Engine = Annotated[LocalEngine | DaskEngine | RayEngine, Field(discriminator="type")]
"""What YAML chooses by `engine: {type: local | dask | ray}`."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Threads:
    def __init__(self, pool: Any, count: int) -> None:
        self.pool = pool
        self.ahead = count + 1

    def map(self, function: Callable[..., T], tasks: Iterable[Sequence[Any]]) -> Iterator[T]:
        """Keep only as many results waiting as there are threads: they may be large."""
        waiting: list[Any] = []
        for task in tasks:
            waiting.append(self.pool.submit(function, *task))
            if len(waiting) >= self.ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()


class _Dask:
    def __init__(self, client: Any) -> None:
        self.client = client

    def map(self, function: Callable[..., T], tasks: Iterable[Sequence[Any]]) -> Iterator[T]:
        futures = [self.client.submit(function, *task, pure=False) for task in tasks]
        while futures:
            yield futures.pop(0).result()


class _Ray:
    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def map(self, function: Callable[..., T], tasks: Iterable[Sequence[Any]]) -> Iterator[T]:
        remote = self.ray.remote(max_retries=10)(function)
        waiting = [remote.remote(*task) for task in tasks]
        while waiting:
            yield self.ray.get(waiting.pop(0))


def _missing(name: str) -> MlxError:
    return MlxError(f"engine {name!r} needs the package {name}", f"uv sync --extra {name}, or set engine.type to local")
