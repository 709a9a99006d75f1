"""The fault drill: every way an upstream can fail, and kill -9 of each part under load; what clients saw, as tables in Markdown.

    python python_script/drill_faults.py faults        # each mood of test/servers/faulty.py, alone and with a second engine behind
    python python_script/drill_faults.py kills         # kill -9 of an engine, a gateway, Redis, the memory, the store behind it; under load

Everything runs on this machine, on free ports: the gateway as `mlx serve` in processes of its own, engines that fail as told.
`kills` wants redis-server; nginx stands before two gateways where it is installed. The store is a stand-in that speaks as a Qdrant server
does, and has forgotten everything when it comes back.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import aiohttp
import psutil

ROOT = Path(__file__).resolve().parents[1]
CHAT = "/v1/chat/completions"
DEADLINE = 3.0  # seconds that any answer may take: first byte within 0.8, pieces within 0.8, and room for a busy machine


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Parts:
    """The processes of the drill, by name; each is ended by its own id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen] = {}
        self.starts: dict[str, tuple] = {}

    def start(self, name: str, command: list[str], port: int, **environment: str) -> None:
        """Start a process and wait until it takes connections."""
        self.starts[name] = (command, port, environment)
        with (self.folder / f"{name}.log").open("ab") as log:
            env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
            self.running[name] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=env)
        for _ in range(1200):
            if self.running[name].poll() is not None:
                raise SystemExit(f"{name} ended:\n" + (self.folder / f"{name}.log").read_text()[-2000:])
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise SystemExit(f"{name} does not listen on {port}")

    def kill(self, name: str) -> None:
        """As kill -9 does."""
        self.running[name].kill()
        self.running[name].wait()

    def again(self, name: str) -> None:
        """Start it as before."""
        command, port, environment = self.starts[name]
        self.start(name, command, port, **environment)

    def end(self) -> None:
        """End all."""
        for each in reversed(self.running.values()):
            if each.poll() is None:
                each.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    each.wait(10)
            if each.poll() is None:
                each.kill()
                each.wait()

    def engine(self, name: str) -> str:
        """Start an engine that fails as it is told; its address."""
        port = free_port()
        self.start(name, [sys.executable, str(ROOT / "test/servers/faulty.py"), "--port", str(port)], port)
        return f"http://127.0.0.1:{port}"

    def gateway(self, name: str, settings: dict, **environment: str) -> str:
        """Start a gateway; its address."""
        port = free_port()
        file = self.folder / f"{name}.yaml"
        file.write_text(json.dumps({"name": name, "serve": {"engine": None, "port": port, **settings}}))
        self.start(name, [sys.executable, "-m", "src", "serve", str(file)], port, **environment)
        return f"http://127.0.0.1:{port}"


def part(url: str, **more) -> dict:
    """Settings of a model with short deadlines."""
    settings = {"connect_timeout": 0.5, "first_byte_timeout": 0.8, "idle_timeout": 0.8, "retries": 0, "failures": 100_000}
    return {"type": "openai", "url": f"{url}/v1", "model": "m", **settings, **more}


async def ask(session, url, *, stream, user="", model="drill", headers=None):
    """One question; what came of it and the seconds it took."""
    body = {"model": model, "messages": [{"role": "user", "content": "Is it lit?"}], "stream": stream, "user": user}
    start = time.monotonic()
    try:
        async with session.post(url + CHAT, json=body, headers=headers) as response:
            text = await response.text()
            bare = response.headers.get("x-mlx-memory") == "unavailable"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"connection: {type(error).__name__}", time.monotonic() - start
    what = told(response.status, text, stream)
    return f"{what} without memory, and saying so" if bare else what, time.monotonic() - start


def told(status: int, text: str, stream: bool) -> str:
    """`answer`, an error with its code, or what is neither."""
    if status != 200:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return f"{status} {json.loads(text)['error']['code']}"
        return f"{status} without a code"
    if not stream:
        with contextlib.suppress(ValueError):
            return "answer" if "choices" in json.loads(text) else "200 without an answer"
        return "200 and no JSON"
    lines = [line[5:].strip() for line in text.replace("\r", "").split("\n") if line.startswith("data:")]
    if lines and lines[-1] == "[DONE]":
        return "answer"
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        return f"answer begun, then {json.loads(lines[-1])['error']['code']}"
    return "a stream that just ends"


async def seen(session, engine) -> int:
    """How many questions an engine was asked."""
    async with session.get(engine + "/seen") as response:
        return (await response.json())["requests"]


def moods() -> list[str]:
    """What an engine can be told to do, those aside that never end."""
    told = subprocess.run(
        [sys.executable, str(ROOT / "test/servers/faulty.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    known = [each.strip() for each in told.split("{", 1)[1].split("}", 1)[0].replace("\n", "").split(",")]
    return [each for each in known if each not in ("flood", "ticking", "endless_event", "slow_a_little")]


async def faults(parts: Parts) -> None:
    """Every mood, alone and with a second engine behind it; each has models of its own, so that none rests for what another did."""
    first, second = parts.engine("first"), parts.engine("second")
    addresses = {"refused": f"http://127.0.0.1:{free_port()}", **dict.fromkeys(moods(), first)}
    models = {f"{mood}.{how}": part(url) for mood, url in addresses.items() for how in ("alone", "backed")} | {"second": part(second)}
    fallback = {f"{mood}.backed": ["second"] for mood in addresses}
    gateway = parts.gateway("gateway", {"models": models, "routes": {"name": "drill", "default": "second", "fallback": fallback}})
    print("| fault | | alone | with a second engine | longest, s | asked |\n|---|---|---|---|---|---|")
    wrong = set()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60), auto_decompress=False) as session:
        for mood, url in addresses.items():
            if url == first:
                await session.post(first + "/mood", data=mood)
            for stream in (False, True):
                if stream and mood.startswith("too_many_"):  # it asked to be left alone, and is
                    continue
                if not await fault(session, gateway, mood, (first, second), stream=stream):
                    wrong.add(mood)
    print(f"\n{'wrong: ' + ', '.join(sorted(wrong)) if wrong else f'Each within {DEADLINE} s and clear; none lost, none asked twice.'}")
    if wrong:
        raise SystemExit(1)


async def fault(session, gateway, mood, engines, *, stream) -> bool:
    """One row of the table; whether all of it is as it should be."""

    async def count() -> list[int]:
        return [await seen(session, each) for each in engines]

    start = await count()
    alone, took = await ask(session, gateway, stream=stream, model=f"{mood}.alone")
    amid = await count()
    backed, longer = await ask(session, gateway, stream=stream, model=f"{mood}.backed")
    end = await count()
    asked = [amid[0] - start[0], end[0] - amid[0], end[1] - amid[1]]
    print(f"| {mood} | {'stream' if stream else 'whole'} | {alone} | {backed} | {max(took, longer):.2f} | {' + '.join(map(str, asked))} |")
    clear = not any("without" in each or each.startswith(("connection", "a stream", "200 ")) for each in (alone, backed))
    return clear and max(took, longer) <= DEADLINE and max(asked) <= 1


async def under_load(url, key, seconds, happen) -> tuple[Counter, list[str], float]:
    """Ask from 16 clients for some seconds while `happen` happens; outcomes, users, and the longest gap without an answer."""
    outcomes: Counter = Counter()
    users: list[str] = []
    good: list[float] = []
    end = time.monotonic() + seconds
    headers = {"authorization": f"Bearer {key}"}

    async def client(number, session):
        turn = 0
        while time.monotonic() < end:
            user, turn = f"c{number}-{turn}", turn + 1
            users.append(user)
            what, _ = await ask(session, url, stream=turn % 2 == 0, user=user, headers=headers)
            outcomes[what] += 1
            if what.startswith("answer") and "then" not in what:
                good.append(time.monotonic())
            else:
                await asyncio.sleep(0.05)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(number, session) for number in range(16)), happen())
    good.sort()
    return outcomes, users, max((b - a for a, b in pairwise(good)), default=seconds)


async def nothing() -> None:
    """What happens where nothing does."""


def dies(parts: Parts, name: str, wait: float):
    """A part is killed after a while, and started again after another."""

    async def happen() -> None:
        await asyncio.sleep(wait)
        await asyncio.to_thread(parts.kill, name)
        await asyncio.sleep(wait)
        await asyncio.to_thread(parts.again, name)

    return happen


def stops(parts: Parts, name: str, wait: float):
    """A part stands still for a while, its connections open."""

    async def happen() -> None:
        await asyncio.sleep(wait)
        parts.running[name].send_signal(signal.SIGSTOP)
        await asyncio.sleep(wait)
        parts.running[name].send_signal(signal.SIGCONT)

    return happen


def child(parts: Parts, gateway: str, what: str, wait: float):
    """A process that a gateway with workers and memory started is killed."""

    async def happen() -> None:
        await asyncio.sleep(wait)
        children = psutil.Process(parts.running[gateway].pid).children(recursive=True)
        next(each for each in children if what in each.cmdline()).kill()

    return happen


async def kills(parts: Parts, seconds: float) -> None:
    """Each part killed with -9, under load."""
    if not shutil.which("redis-server"):
        raise SystemExit("this part of the drill needs redis-server (apt-get install redis-server)")
    redis = free_port()
    parts.start("redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(parts.folder)], redis)
    address = {"REDIS_URL": f"redis://127.0.0.1:{redis}/0"}
    first, second = parts.engine("first"), parts.engine("second")
    routes = {"name": "drill", "default": "first", "fallback": {"first": ["second"]}}
    bank = parts.folder / "bank"
    bank.mkdir()
    (bank / "notes.md").write_text("# Lamps\nThe lamp of the harbour is lit at dusk.\n")
    settings = {
        "models": {"first": part(first, failures=5, rest=1.0), "second": part(second)},
        "routes": routes,
        "access": {"roles": {"user": {}}, "keys": str(parts.folder / "keys"), "limits": {"type": "redis"}},
    }
    from src.serve.access.keys import Keys

    key = Keys(parts.folder / "keys").create(name="drill", role="user", days=None)[1]
    a, b = (parts.gateway(name, settings, **address) for name in ("gateway-a", "gateway-b"))
    url = a
    if shutil.which("nginx"):
        url = nginx(parts, a, b)
    print("| killed with -9 | requests | what clients saw | longest gap | doubled |\n|---|---|---|---|---|")

    cases = [("nothing", nothing), ("an engine, with another behind it", dies(parts, "first", seconds / 4))]
    cases += [("an engine stopped, not dead", stops(parts, "first", seconds / 4))]
    cases += [("a gateway of two", dies(parts, "gateway-b", seconds / 4))] if url not in (a, b) else []
    cases += [("Redis", dies(parts, "redis", seconds / 4))]
    memory = {"folder": str(bank), "store": {"type": "numpy"}, "embedder": {"type": "hashing"}, "watch": 1}
    many = parts.gateway("gateway-c", {**settings, "workers": 2, "memory": memory}, **address)
    store = free_port()
    parts.start("store", [sys.executable, str(ROOT / "test/store/stand_ins.py"), "qdrant", "--port", str(store)], store)
    server = {"type": "qdrant", "url": f"http://127.0.0.1:{store}"}
    served = parts.gateway("gateway-d", {**settings, "workers": 2, "memory": {**memory, "store": server}}, **address)
    rows = [(name, url, happen) for name, happen in cases]
    rows.append(("a worker of two", many, child(parts, "gateway-c", "src.serve.worker", seconds / 4)))
    rows.append(("the memory's process", many, child(parts, "gateway-c", "src.serve.memory.process", seconds / 4)))
    rows.append(("the store behind the memory, a server", served, dies(parts, "store", seconds / 4)))
    for where in (many, served):
        await remembers(where, key)
    for name, where, happen in rows:
        doubled = await row(name, where, key, seconds, happen, (first, second))
        if doubled:
            raise SystemExit(f"{doubled} questions were asked twice of one engine")


async def remembers(url: str, key: str) -> None:
    """Wait until a gateway's memory is there: its process takes as long as its libraries to import."""
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session:
        for _ in range(600):
            async with session.get(url + "/health/ready") as response:
                if (await response.json())["memory"] == "ready":
                    return
            await asyncio.sleep(0.1)
    raise SystemExit(f"the memory of {url} does not get ready")


async def row(name, url, key, seconds, happen, engines) -> int:
    """One row of the table; how many questions were asked twice of one engine."""
    async with aiohttp.ClientSession() as session:
        for engine in engines:
            async with session.post(engine + "/mood", data="slow_a_little"):
                pass
    outcomes, users, gap = await under_load(url, key, seconds, happen)
    twice = 0
    async with aiohttp.ClientSession() as session:
        for engine in engines:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(engine + "/seen") as response:
                    counts = Counter(each for each in (await response.json())["ids"] if each in set(users))
                    twice += sum(count > 1 for count in counts.values())
            async with session.post(engine + "/forget"):
                pass
    lost = len(users) - sum(outcomes.values())
    shown = ", ".join(f"{count:,} {what}" for what, count in outcomes.most_common())
    print(f"| {name} | {len(users):,} | {shown}{f', {lost} LOST' if lost else ''} | {gap:.2f} s | {twice} |")
    return twice


def nginx(parts: Parts, a: str, b: str) -> str:
    """Start nginx before two gateways; its address."""
    port = free_port()
    text = (ROOT / "deploy/nginx.conf").read_text().replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/", f"{parts.folder}/")
    text = text.replace("gateway-a:8000", a.removeprefix("http://")).replace("gateway-b:8000", b.removeprefix("http://"))
    conf = parts.folder / "nginx.conf"
    conf.write_text(text.replace("access_log /dev/stdout told", "access_log off"))
    parts.start("nginx", ["nginx", "-p", str(parts.folder), "-c", str(conf), "-g", "daemon off;"], port)
    return f"http://127.0.0.1:{port}"


def main() -> None:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["faults", "kills"])
    parser.add_argument("--seconds", type=float, default=12.0, help="of load for each kill")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder))
        try:
            asyncio.run(faults(parts) if given.what == "faults" else kills(parts, given.seconds))
        finally:
            parts.end()


if __name__ == "__main__":
    main()
