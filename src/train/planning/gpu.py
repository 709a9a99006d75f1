"""GPUs by name: memory, dense bf16 arithmetic, memory bandwidth."""

import re
from dataclasses import dataclass

from src.core.errors import MlxError, did_you_mean


@dataclass(frozen=True)
class Gpu:
    """What a card has, as its maker states it."""

    name: str
    memory: float
    """Bytes a program can have, as CUDA reports them."""
    tflops: float
    """Dense bf16 TFLOP/s with fp32 sums."""
    bandwidth: float
    """Of its memory, TB/s."""
    price: float
    """Usual price of an hour in the cloud, US dollars: an assumption, set yours with --price."""


GIB = 2**30
_CORE = 0.06  # TFLOP/s of a core in fp32: an assumption
GPUS = {
    "h100": Gpu("H100 SXM 80 GB", 79.2 * GIB, 989, 3.35, 2.5),
    "h200": Gpu("H200 SXM 141 GB", 139.7 * GIB, 989, 4.8, 3.5),
    "a100-40": Gpu("A100 40 GB", 39.4 * GIB, 312, 1.56, 1.3),
    "a100-80": Gpu("A100 80 GB", 79.2 * GIB, 312, 2.04, 1.8),
    "l40s": Gpu("L40S 48 GB", 44.5 * GIB, 362, 0.864, 1.0),
    "rtx4090": Gpu("RTX 4090 24 GB", 23.5 * GIB, 165, 1.008, 0.4),
    "rtx4080": Gpu("RTX 4080 16 GB", 15.7 * GIB, 97.5, 0.717, 0.3),
    "rtx5080": Gpu("RTX 5080 16 GB", 15.9 * GIB, 112.6, 0.96, 0.35),
}
"""GeForce cards sum bf16 products in fp32 at half of the rate that is advertised; theirs is the halved one."""
_KEYS = {"name", "memory", "tflops", "bandwidth", "price"}


def gpu_named(text: str) -> Gpu:
    """Turn `h100`, or `name=…,memory=GB,tflops=…[,bandwidth=TB/s][,price=…]`, into a card.

    Raises:
        MlxError: Where the name is not known, or a number is missing or none.
    """
    if "=" not in text:
        name = re.sub(r"[ _]", "", text.lower())
        if name in GPUS:
            return GPUS[name]
        raise MlxError(
            f"--gpu {text!r} is not known{did_you_mean(name, GPUS)}",
            "describe it: --gpu name=MyCard,memory=48,tflops=360,bandwidth=0.9 (GB, dense bf16 TFLOP/s, TB/s)",
        )
    given = dict(pair.partition("=")[::2] for pair in text.split(","))
    if unknown := given.keys() - _KEYS:
        raise MlxError(f"--gpu: no such key {sorted(unknown)[0]!r}{did_you_mean(sorted(unknown)[0], _KEYS)}", f"keys: {', '.join(_KEYS)}")
    return Gpu(
        given.get("name") or "GPU",
        _number(given, "memory") * 1e9,
        _number(given, "tflops"),
        _number(given, "bandwidth", 1.0),
        _number(given, "price", 0.0),
    )


def this_cpu() -> Gpu:
    """The processor of this machine: its free memory, and the arithmetic that its cores may have (an assumption)."""
    import psutil

    cores = psutil.cpu_count(logical=False) or 1
    return Gpu(f"CPU, {cores} cores", float(psutil.virtual_memory().available), _CORE * cores, 0.05, 0.0)


def gpu_like(reported: str) -> Gpu | None:
    """The card that `torch.cuda.get_device_name` names, such as `NVIDIA H100 80GB HBM3`; None where it is not known."""
    text = re.sub(r"[\s-]", "", reported.lower())
    if "a100" in text:
        return GPUS["a100-80" if "80gb" in text else "a100-40"]
    return next((gpu for name, gpu in GPUS.items() if name in text), None)


def _number(given: dict[str, str], key: str, default: float | None = None) -> float:
    text = given.get(key)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if value < 0 or (value == 0 and default is None):
        raise MlxError(f"--gpu: {key} is {text!r}, and has to be a number over 0", "as in --gpu name=MyCard,memory=48,tflops=360")
    return value
