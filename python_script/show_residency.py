"""Two real engines under a budget for one: mixed streams from many clients; processes and their memory are the witness.

uv run mlx run config/quickstart.yaml             # makes the model that both serve
uv run python python_script/show_residency.py [--requests 50] [--clients 25]
VLLM_EXECUTABLE=.venv-vllm/bin/vllm uv run python python_script/show_residency.py --engine vllm --requests 12 --clients 6

Exits with 1 where an answer was cut or refused, or both engines were alive at once.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import yaml

from src.llm.launcher import free_port

NAMES = ("show_a", "show_b")


def project(trained: Path, engine: str) -> dict[str, object]:
    """A gateway over two engines that take a GB each, on a GB and a half."""
    words = ["-m", "src", "serve", "config/quickstart.yaml", f"serve.input={trained}", "serve.page=false", "serve.port={port}"]
    models: dict[str, dict[str, object]] = {
        name: {"type": "process", "command": [sys.executable, *words, f"name={name}"], "ram_gb": 1} for name in NAMES
    }
    if engine == "vllm":
        models = {name: {"type": "vllm", "model": str(trained), "max_model_len": 256, "ram_gb": 1} for name in NAMES}
    return {
        "name": "show",
        "serve": {"engine": None, "page": False, "models": models, "request_timeout": 1800, "residency": {"ram_gb": 1.5, "wait": 1500}},
    }


class Witness(threading.Thread):
    """Looks at the engines' processes, five times a second. An engine is a group of processes: it and all its children."""

    def __init__(self, gateway: int) -> None:
        super().__init__(daemon=True)
        self.gateway = psutil.Process(gateway)
        self.most = 0
        self.peak = 0.0
        self.pids: dict[str, list[int]] = {name: [] for name in NAMES}
        self.ended = threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        while not self.ended.wait(0.2):
            groups: dict[int, float] = {}
            for child in self.gateway.children(recursive=True):
                try:
                    group, words, size = os.getpgid(child.pid), child.cmdline(), child.memory_info().rss / 1e6
                    if child.status() == psutil.STATUS_ZOMBIE:
                        continue
                except (psutil.Error, ProcessLookupError):
                    continue
                name = next((name for name in NAMES if any(word == f"name={name}" or word.startswith(f"{name}=") for word in words)), None)
                if name and group not in self.pids[name]:
                    self.pids[name].append(group)
                if any(group in pids for pids in self.pids.values()):
                    groups[group] = groups.get(group, 0.0) + size
            self.most = max(self.most, len(groups))
            self.peak = max(self.peak, sum(groups.values()))


def asked(port: int, name: str, number: int) -> tuple[bool, float]:
    """One streamed request; whether its answer came whole, and after how many seconds."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1800)
    said = {"messages": [{"role": "user", "content": f"Number {number}: turn on the lamp"}], "max_tokens": 24, "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": name, **said}), {"content-type": "application/json"})
    text = connection.getresponse().read().decode()
    events = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    whole = text.endswith("data: [DONE]\n\n") and any(each["choices"] and each["choices"][0]["finish_reason"] for each in events)
    if not whole:
        print(f"{name}, {number}: {text[:300]}")
    return whole, time.perf_counter() - start


def client(port: int, numbers: list[int], found: list[tuple[bool, float]]) -> None:
    """Ask one thing after the other, of either model."""
    chance = random.Random(numbers[0])
    found.extend(asked(port, chance.choice(NAMES), number) for number in numbers)


def main() -> int:
    """Serve, ask, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--clients", type=int, default=25)
    parser.add_argument("--engine", choices=("mlx", "vllm"), default="mlx")
    parser.add_argument("--trained", type=Path, default=Path("checkpoint/quickstart/train"))
    options = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "show.yaml"
        file.write_text(yaml.safe_dump(project(options.trained, options.engine)))
        gateway = subprocess.Popen([sys.executable, "-m", "src", "serve", str(file), f"serve.port={port}"])
        try:
            return shown(gateway.pid, port, options)
        finally:
            gateway.terminate()
            gateway.wait(60)


def shown(gateway: int, port: int, options: argparse.Namespace) -> int:
    """Ask everything; print what was seen, and return 1 where it is not as it should be."""
    end = time.monotonic() + 60
    while not any(each.laddr.port == port for each in psutil.Process(gateway).net_connections() if each.status == "LISTEN"):
        if time.monotonic() > end:
            raise SystemExit("the gateway does not listen")
        time.sleep(0.1)
    witness = Witness(gateway)
    witness.start()
    found: list[tuple[bool, float]] = []
    numbers = [list(range(first, options.requests, options.clients)) for first in range(options.clients)]
    began = time.perf_counter()
    threads = [threading.Thread(target=client, args=(port, each, found)) for each in numbers if each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    witness.ended.set()
    witness.join()
    whole = sum(good for good, _ in found)
    waits = sorted(each for _, each in found)
    lives = {name: len(pids) for name, pids in witness.pids.items()}
    print(
        f"{whole} of {options.requests} answers whole, in {seconds:.0f} s; longest {waits[-1]:.0f} s, median {waits[len(waits) // 2]:.0f} s"
    )
    print(f"processes started: {lives}; alive at once at most: {witness.most}; their memory at most: {witness.peak:.0f} MB")
    return 0 if whole == options.requests and witness.most == 1 and all(lives.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
