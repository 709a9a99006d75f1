"""What `mlx serve` costs as a gateway: CPU, added time and memory, against the upstream alone and against LiteLLM's proxy.

    python python_script/bench_gateway.py                              # the gateway and direct
    python python_script/bench_gateway.py --peers /tmp/lite/bin/python # and LiteLLM, from a venv with litellm[proxy]
    python python_script/bench_gateway.py --soak 600                   # ten minutes at 70 % of what it can

The gateway runs as its users run it, with keys, audit log, limits and routes by rules. CPU is user + system time of the
proxy's processes; that and the ratios hold on a busy machine, times to the first token hardly do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
import yaml
from gateway_load import Seen, load, request

from src.serve import ServeConfig

LASTS = 1.3  # seconds of a stream of 64 chunks, 20 ms apart
HERE = Path(__file__).parent
MLX = Path(sys.executable).with_name("mlx")
ROUTES = {
    "name": "router",
    "default": "fast",
    "rules": [{"to": "coder", "tools": True}, {"to": "coder", "regex": "(?i)refactor|unit test"}],
}


@dataclass
class Server:
    """A process that answers, its children included."""

    name: str
    url: str
    process: psutil.Process
    ready: float = 0.0
    """Seconds from its start to its first answer."""
    model: str = "fast"
    key: str | None = None

    def family(self) -> list[psutil.Process]:
        """The process and its children."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """CPU seconds so far."""
        return sum(each.cpu_times().user + each.cpu_times().system for each in self.family())

    def rss(self) -> float:
        """Resident memory of the largest process, in MB."""
        return max(each.memory_info().rss for each in self.family()) / 1e6

    def files(self) -> int:
        """Open descriptors."""
        return sum(each.num_fds() for each in self.family())

    def request(self, *, stream: bool) -> bytes:
        """A request to it."""
        return request(self.url, model=self.model, stream=stream, key=self.key)


def free() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], where: Path, health: str, **environment: str) -> Iterator[tuple[psutil.Process, float]]:
    """Run a command until the block ends; yield it once `health` answers 200, with the seconds that took."""
    start = time.perf_counter()
    with (where / "out.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=where, stdout=log, stderr=log, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment}
        )
    try:
        while True:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(health, timeout=2).status == 200:
                    break
            if process.poll() is not None or time.perf_counter() - start > 180:
                raise SystemExit(f"{command[0]} did not start:\n{(where / 'out.log').read_text()[-3000:]}")
            time.sleep(0.01)
        yield psutil.Process(process.pid), time.perf_counter() - start
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def upstream(gap: float) -> Iterator[str]:
    """The stand-in that everything asks."""
    port = free()
    process = subprocess.Popen([sys.executable, str(HERE / "gateway_upstream.py"), "--port", str(port), "--gap", str(gap)])
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def gateway(where: Path, up: str, *, workers: int = 1, bare: bool = False, embedder: str | None = None) -> Iterator[Server]:
    """`mlx serve` with keys, audit log, limits and routes by rules; `bare` has none of them, `embedder` adds memory and page."""
    where.mkdir(parents=True, exist_ok=True)
    port = free()
    model = {"type": "openai", "url": up, "model": "stand-in"}
    role = {"requests_per_minute": 10**8, "tokens_per_minute": 10**12, "concurrent": 10**6, "routes": ["/v1/*"]}
    section = {"engine": None, "port": port, "page": False, "models": {"fast": model, "coder": model}}
    if workers > 1:
        section |= {"workers": workers}
    if embedder:
        memory = {"folder": str(HERE.parent / "memory_bank"), "store": {"type": "numpy"}, "embedder": {"type": embedder}}
        section |= {"page": True, "memory": memory}
    if not bare:
        section |= {"access": {"roles": {"user": role if workers == 1 else {}}}}
        if "routes" in ServeConfig.model_fields:
            section |= {"routes": ROUTES}
    (where / "bench.yaml").write_text(yaml.safe_dump({"name": "bench", "serve": section}))
    key = None
    if not bare:
        made = subprocess.run(
            [MLX, "token", "create", "bench.yaml", "--role", "user"], cwd=where, capture_output=True, text=True, check=True
        )
        key = next(word for word in made.stdout.split() if word.startswith("mlx_"))
    command = [str(MLX), "serve", "bench.yaml"]
    with running(command, where, f"http://127.0.0.1:{port}/health") as (process, ready):
        if embedder:
            remembers(f"http://127.0.0.1:{port}/v1/memory", key)
        yield Server(
            "mlx serve" + (" (bare)" if bare else f", memory ({embedder}) and page" if embedder else ""),
            f"http://127.0.0.1:{port}/v1",
            process,
            ready,
            "fast" if bare or "routes" not in section else "router",
            key,
        )


def remembers(url: str, key: str | None) -> None:
    """Wait until the memory is ready."""
    asked = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    for _ in range(1200):
        if json.loads(urllib.request.urlopen(asked, timeout=5).read())["state"] == "ready":
            return
        time.sleep(0.1)
    raise SystemExit("the memory did not get ready")


@contextlib.contextmanager
def litellm(where: Path, up: str, python: Path) -> Iterator[Server]:
    """LiteLLM's proxy as its documentation starts it, with one model, its master key as the only key, and no callbacks."""
    where.mkdir(parents=True, exist_ok=True)
    port = free()
    key = f"sk-{secrets.token_hex(16)}"
    settings = {
        "model_list": [{"model_name": "fast", "litellm_params": {"model": "openai/stand-in", "api_base": up, "api_key": "none"}}],
        "general_settings": {"master_key": key},
    }
    (where / "lite.yaml").write_text(yaml.safe_dump(settings))
    command = [str(python.with_name("litellm")), "--config", "lite.yaml", "--port", str(port), "--host", "127.0.0.1"]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    with running(command, where, f"http://127.0.0.1:{port}/health/liveliness", **quiet) as (process, ready):
        yield Server("LiteLLM", f"http://127.0.0.1:{port}/v1", process, ready, key=key)


@contextlib.contextmanager
def floor(where: Path, up: str) -> Iterator[Server]:
    """Bare ASGI and aiohttp, with nothing between."""
    where.mkdir(parents=True, exist_ok=True)
    port = free()
    command = [sys.executable, str(HERE / "gateway_floor.py"), str(port), up]
    with running(command, where, f"http://127.0.0.1:{port}/health") as (process, ready):
        yield Server("bare ASGI + aiohttp", f"http://127.0.0.1:{port}/v1", process, ready)


def row(name: str, *cells: object) -> None:
    """Print a line of the table."""
    print(f"| {name} | " + " | ".join(f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True)


async def json_cost(server: Server, total: int, at_once: int) -> tuple[float, Seen]:
    """CPU microseconds of a JSON request, once it is warm."""
    data = server.request(stream=False)
    await load(server.url, data, at_once=at_once, total=max(20, total // 10))
    before = server.cpu()
    seen = await load(server.url, data, at_once=at_once, total=total)
    return (server.cpu() - before) / total * 1e6, seen


async def stream_cost(server: Server, total: int, at_once: int) -> tuple[float, Seen]:
    """CPU microseconds of a streamed chunk."""
    data = server.request(stream=True)
    await load(server.url, data, at_once=at_once, total=at_once, spread=LASTS)
    before = server.cpu()
    seen = await load(server.url, data, at_once=at_once, total=total, spread=LASTS)
    return (server.cpu() - before) / max(1, seen.chunks) * 1e6, seen


def refuse(seen: Seen, name: str) -> None:
    """End where answers were not good: their cost means nothing."""
    if seen.failed:
        raise SystemExit(f"{name}: {seen.failed} of {len(seen.total)} answers failed: {seen.why[:2]}")


def measure(server: Server, direct: dict[str, Seen], *, requests: int, streams: int, at_once: int, rounds: int) -> dict[str, float]:
    """Measure one proxy, best of some rounds for CPU; added times are against direct."""
    costs, chunks, seen, flows = [], [], Seen(), Seen()
    for _ in range(rounds):
        cost, one = uvloop.run(json_cost(server, requests, 32))
        refuse(one, server.name)
        costs.append(cost)
        cost, flow = uvloop.run(stream_cost(server, streams, at_once))
        refuse(flow, server.name)
        chunks.append(cost)
        flows.first += flow.first
        flows.chunks += flow.chunks
        _, one = uvloop.run(json_cost(server, min(requests, 300), 1))
        seen.first += one.first
    found = {
        "json_us": min(costs),
        "chunk_us": min(chunks),
        "stream_ms": min(chunks) * 64 / 1e3,
        "json_added_ms": seen.median - direct["json"].median,
        "ttft_p50_ms": flows.median - direct["stream"].median,
        "ttft_p99_ms": flows.at(0.99) - direct["stream"].at(0.99),
        "rss_mb": server.rss(),
        "ready_s": server.ready,
    }
    row(server.name, *found.values())
    return found


def compare(given: argparse.Namespace, where: Path) -> None:
    """The table."""
    row(
        "",
        "CPU µs a JSON request",
        "CPU µs a chunk",
        "CPU ms a stream",
        "JSON p50 added ms",
        "TTFT p50 added ms",
        "TTFT p99 added ms",
        "RSS MB",
        "ready s",
    )
    row("---", *["---"] * 8)
    with upstream(0.02) as up:
        alone = Server("direct", up, psutil.Process())
        direct = {"json": Seen(), "stream": Seen()}
        for _ in range(given.rounds):
            direct["json"].first += uvloop.run(load(up, alone.request(stream=False), at_once=1, total=300)).first
            direct["stream"].first += uvloop.run(
                load(up, alone.request(stream=True), at_once=given.streams, total=given.streams * 3, spread=LASTS)
            ).first
        with floor(where / "floor", up) as least:
            measure(least, direct, requests=given.requests, streams=given.streams * 3, at_once=given.streams, rounds=given.rounds)
        with gateway(where / "mlx", up, workers=given.workers, bare=given.bare) as ours:
            mine = measure(ours, direct, requests=given.requests, streams=given.streams * 3, at_once=given.streams, rounds=given.rounds)
        if given.embedder:
            with gateway(where / "memory", up, embedder=given.embedder) as ours:
                measure(ours, direct, requests=300, streams=given.streams, at_once=given.streams, rounds=given.rounds)
        if not given.peers:
            return
        with litellm(where / "lite", up, given.peers) as theirs:
            peer = measure(theirs, direct, requests=300, streams=20, at_once=10, rounds=1)
    row("LiteLLM / mlx", peer["json_us"] / mine["json_us"], peer["chunk_us"] / mine["chunk_us"], *[""] * 6)


def soak(given: argparse.Namespace, where: Path) -> None:
    """Run at 70 % of capacity, and look whether memory or descriptors grow."""
    with upstream(0.0) as up, gateway(where / "mlx", up, workers=given.workers) as server:
        data = [server.request(stream=stream) for stream in (False, True)]

        async def rate(pause: float, seconds: float) -> Seen:
            both = await asyncio.gather(*(load(server.url, each, at_once=16, seconds=seconds, pause=pause) for each in data))
            whole = Seen(seconds=seconds)
            for each in both:
                whole.total += each.total
                whole.failed += each.failed
                whole.why += each.why
            return whole

        most = uvloop.run(rate(0.0, 5))
        capacity = len(most.total) / most.seconds
        pause = 32 / (0.7 * capacity) - 32 / capacity
        print(f"capacity {capacity:.0f} requests a second, half of them streams of 64 chunks; now 70 % of it for {given.soak} s")
        marks: list[tuple[float, float, int]] = []
        asked = failed = 0
        start = time.perf_counter()
        while (age := time.perf_counter() - start) < given.soak:
            seen = uvloop.run(rate(pause, min(10, given.soak - age)))
            asked, failed = asked + len(seen.total), failed + seen.failed
            time.sleep(0.3)
            marks.append((time.perf_counter() - start, server.rss(), server.files()))
            told = f"{marks[-1][0]:6.0f} s  {marks[-1][1]:6.1f} MB  {marks[-1][2]} descriptors  {asked:,} asked, {failed} failed"
            print(told, *seen.why[:1], flush=True)
        later = marks[len(marks) // 3 :]
        mean = [sum(column) / len(later) for column in zip(*later, strict=True)]
        slope = sum((t - mean[0]) * (m - mean[1]) for t, m, _ in later) / max(1e-9, sum((t - mean[0]) ** 2 for t, _, _ in later))
        print(
            json.dumps(
                {
                    "asked": asked,
                    "failed": failed,
                    "rss_mb": marks[-1][1],
                    "slope_mb_a_minute": round(slope * 60, 3),
                    "descriptors": [later[0][2], later[-1][2]],
                }
            )
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="python of a venv with litellm[proxy]")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--streams", type=int, default=50, help="streams at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bare", action="store_true", help="without keys, audit log, limits and routes")
    parser.add_argument("--embedder", choices=["minilm", "hashing"], help="a second row, with a memory by this embedder, and the page")
    parser.add_argument("--soak", type=int, help="seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak(given, Path(folder)) if given.soak else compare(given, Path(folder))
