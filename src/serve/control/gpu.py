"""How full the GPUs are, as the driver's own tool tells it."""

import shutil
import subprocess

QUERY = ("--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")
MB = 1 << 20


def gpu_memory() -> dict[str, tuple[int, int]]:
    """Bytes used and there, by GPU; nothing where there is none, or its driver does not answer within 5 seconds."""
    program = shutil.which("nvidia-smi")
    if not program:
        return {}
    try:
        told = subprocess.run([program, *QUERY], capture_output=True, text=True, timeout=5, check=True).stdout
        rows = [line.split(", ") for line in told.strip().splitlines()]
        return {index: (int(used) * MB, int(total) * MB) for index, used, total in rows}
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
