"""What this machine has for mlx to run on, and how to mend what is missing."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from src.core.secrets import names

KEYS = ("HF_TOKEN", "OPENAI_API_KEY", "OPENROUTER_API_KEY")
"""Secrets that mlx's own parts ask for."""


@dataclass(frozen=True)
class Check:
    """One finding."""

    what: str
    found: str
    state: str
    """`ok`, `note` (works without, with less) or `fault`."""
    fix: str = ""


def checks() -> Iterator[Check]:
    """Look at everything, one finding at a time; the slow ones (torch) last."""
    for each in (_python, _memory, _disk, _keys, _vllm, _ollama, _packages, _torch, _cuda):
        yield from each()


def _python() -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    fix = "" if good else "install Python 3.11 or newer: uv python install 3.11"
    yield Check("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", "ok" if good else "fault", fix)


def _memory() -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    low = memory.available < 4e9
    fix = "close other programs: the quickstart needs 4 GB" if low else ""
    yield Check(
        "memory", f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free, {os.cpu_count()} cores", "note" if low else "ok", fix
    )


def _disk() -> Iterator[Check]:
    disk = shutil.disk_usage(Path.cwd())
    low = disk.free < 5e9
    yield Check(
        "disk",
        f"{disk.free / 1e9:.1f} GB free here",
        "fault" if low else "ok",
        "free some: data/, checkpoint/ and log/ grow" if low else "",
    )


def _keys() -> Iterator[Check]:
    present = set(names())
    for name in KEYS:
        found = name in present
        yield Check(
            name, "set" if found else "not set", "ok" if found else "note", "" if found else f"add {name}=… to .env if a config asks for it"
        )


def _vllm() -> Iterator[Check]:
    executable = os.environ.get("VLLM_EXECUTABLE") or shutil.which("vllm")
    found = bool(executable) and Path(str(executable)).exists()
    fix = "uv sync --extra gpu (Linux, CUDA), or set VLLM_EXECUTABLE; the transformers engine needs neither"
    yield Check("vLLM", str(executable) if found else "none", "ok" if found else "note", "" if found else fix)


def _ollama() -> Iterator[Check]:
    import socket

    url = urlsplit(os.environ.get("OLLAMA_BASE_URL") or "http://127.0.0.1:11434")
    try:
        socket.create_connection((url.hostname or "127.0.0.1", url.port or 11434), timeout=0.5).close()
    except OSError:
        yield Check("Ollama", f"nothing listens at {url.netloc}", "note", "ollama serve, or set OLLAMA_BASE_URL, if a config asks for it")
    else:
        yield Check("Ollama", f"listens at {url.netloc}", "ok")


def _packages() -> Iterator[Check]:
    for package in ("transformers", "peft", "trl", "bitsandbytes", "polars"):
        try:
            yield Check(package, version(package), "ok")
        except PackageNotFoundError:
            yield Check(package, "not installed", "fault", "uv sync")


def _torch() -> Iterator[Check]:
    if find_spec("torch") is None:
        yield Check("torch", "not installed", "fault", "uv sync")
        return
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("torch", f"does not load: {error}", "fault", "uv sync --reinstall-package torch")
        return
    yield Check("torch", f"{torch.__version__}, built for CUDA {torch.version.cuda or 'none'}", "ok")


def _cuda() -> Iterator[Check]:
    torch = sys.modules.get("torch")
    driver = _driver()
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield Check("GPU", f"{card.name}, {card.total_memory / 1e9:.0f} GB, driver {driver or 'unknown'}", "ok")
    elif driver:
        yield Check("GPU", f"driver {driver}, but torch cannot use it", "fault", "match torch's CUDA build to the driver, see `nvidia-smi`")
    else:
        yield Check("GPU", "none", "note", "small models train and serve on the CPU; for 7B and more use a CUDA machine")


def _driver(run: Callable[[str], str | None] = shutil.which) -> str:
    """The NVIDIA driver's version, or nothing."""
    import subprocess

    if not (tool := run("nvidia-smi")):
        return ""
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().split("\n")[0] if done.returncode == 0 else ""
