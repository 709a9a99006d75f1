"""Counts what passes and tells it in Prometheus' form; several workers count into one folder, so that any of them tells the sum."""

import asyncio
import os
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from src.serve.control.gpu import gpu_memory
from src.serve.control.shared_counts import VARIABLE
from src.serve.gateway.gateway import Gateway

TICK = 5.0  # seconds between two looks at what is no event: memory, states, what is under way
GPU_EVERY = 12  # ticks
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)  # seconds
OTHER = "other"
"""Stands for every path and model that is not one of ours: a client cannot make up series."""
GROUPS = ("/admin", "/ui", "/v1/memory")
"""Beginnings of paths that are told as one."""
PATHS = frozenset(("/v1/budget", "/v1/models", "/v1/lineage", "/health", "/health/live", "/health/ready", "/metrics"))
"""Paths that are told by name, besides those of the engines."""


class Metrics:
    """The counts of one process, and the telling of all."""

    def __init__(self, gateway: Gateway) -> None:
        """Begin at nought, or where several workers count where they are."""
        self.gateway = gateway
        self.paths = PATHS | gateway.paths
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each count, which nobody reads
        own = self._own = CollectorRegistry()
        self._requests = Counter("mlx_requests", "Requests answered.", ("path", "status"), registry=own)
        self._seconds = Histogram("mlx_request_seconds", "Seconds to the last byte.", ("path",), registry=own, buckets=BUCKETS)
        self._first = Histogram("mlx_first_byte_seconds", "Seconds to the first byte.", ("path",), registry=own, buckets=BUCKETS)
        self._tokens = Counter("mlx_tokens", "Tokens of questions and answers, of callers with a key.", ("model", "kind"), registry=own)
        self._tries = Counter("mlx_model_tries", "Times that a model's engine was asked.", ("model", "result"), registry=own)
        self._cache = Counter("mlx_cache", "Answers that were kept (hit), or could have been (miss).", ("result",), registry=own)
        self._copies = Counter("mlx_shadow_copies", "Copies of requests for a model to try.", ("model", "result"), registry=own)
        self._copied = Counter("mlx_shadow_seconds", "Seconds that copies took.", ("model",), registry=own)
        self._up = Gauge("mlx_model_up", "Whether the engine is ready.", ("model",), registry=own, multiprocess_mode="livemin")
        self._state = Gauge("mlx_model_state", "1 for the state it is in.", ("model", "state"), registry=own, multiprocess_mode="livemax")
        self._inside = Gauge("mlx_model_inflight", "Requests under way.", ("model",), registry=own, multiprocess_mode="livesum")
        self._memory = Gauge("mlx_worker_memory_bytes", "Resident memory of a worker.", registry=own, multiprocess_mode="liveall")
        self._files = Gauge("mlx_worker_open_files", "Open descriptors of a worker.", registry=own, multiprocess_mode="liveall")
        self._gpu = Gauge("mlx_gpu_memory_bytes", "Memory of a GPU.", ("gpu", "kind"), registry=own, multiprocess_mode="livemax")
        self._known: dict[tuple[str, int], tuple[Any, Any, Any]] = {}
        """What a request counts into: looking it up by its labels costs more than counting."""
        self._spent: dict[str, tuple[Any, Any]] = {}
        self._told: dict[Counter, float] = {}
        self._states: set[tuple[str, str]] = set()
        self._process = psutil.Process()

    def answered(self, path: str, status: int, first: float, seconds: float) -> None:
        """Count a request, with its seconds to the first byte and to the last."""
        path = path if path in self.paths else next((each for each in GROUPS if path.startswith(each)), OTHER)
        known = self._known.get((path, status))
        if known is None:
            known = self._known[path, status] = (self._requests.labels(path, status), self._first.labels(path), self._seconds.labels(path))
        known[0].inc()
        known[1].observe(first)
        known[2].observe(seconds)

    def used(self, model: str, prompt: int, completion: int) -> None:
        """Count tokens; a model that clients made up counts as another."""
        known = self._spent.get(model)
        if known is None:
            told = model if model in self.gateway.names or model in self.gateway.gone else OTHER
            known = (self._tokens.labels(told, "prompt"), self._tokens.labels(told, "completion"))
            if told == model:
                self._spent[model] = known
        known[0].inc(prompt)
        known[1].inc(completion)

    async def run(self) -> None:
        """Look at what is no event, as long as the server runs."""
        tick = 0
        while True:
            if tick % GPU_EVERY == 0:
                for gpu, (used, total) in (await asyncio.to_thread(gpu_memory)).items():
                    self._gpu.labels(gpu, "used").set(used)
                    self._gpu.labels(gpu, "total").set(total)
            self._look()
            tick += 1
            await asyncio.sleep(TICK)

    def text(self) -> bytes:
        """All that is known, of all workers."""
        self._look()
        registry = self._own
        if os.environ.get(VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        told: bytes = generate_latest(registry)
        return told

    def _look(self) -> None:
        self._memory.set(self._process.memory_info().rss)
        self._files.set(self._process.num_fds())
        if self.gateway.cache is not None:
            self._counted(self._cache.labels("hit"), self.gateway.cache.hits)
            self._counted(self._cache.labels("miss"), self.gateway.cache.misses)
        for name, model in {**self.gateway.gone, **self.gateway.models}.items():
            state = model.state if name in self.gateway.models else "unloaded"
            self._up.labels(name).set(state == "ready")
            for each in {state} | {known for of, known in self._states if of == name}:
                self._state.labels(name, each).set(each == state)
            self._states.add((name, state))
            self._inside.labels(name).set(model.tally.inside)
            for result in ("answered", "failed"):
                self._counted(self._tries.labels(name, result), getattr(model.tally, result))
        for name, copies in (self.gateway.shadows.counts if self.gateway.shadows else {}).items():
            for result in ("sent", "answered", "failed", "left_out"):
                self._counted(self._copies.labels(name, result), getattr(copies, result))
            self._counted(self._copied.labels(name), copies.seconds)

    def _counted(self, counter: Counter, count: float) -> None:
        """Bring a counter up to what is counted elsewhere."""
        counter.inc(count - self._told.get(counter, 0))
        self._told[counter] = count
