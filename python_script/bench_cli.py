"""How light `mlx --help` is: its CPU time over that of a bare `import typer, pydantic`, in alternating runs.

uv run python python_script/bench_cli.py [RUNS]
"""

import os
import statistics
import subprocess
import sys

COMMANDS = {
    "mlx --help": ["-m", "src", "--help"],
    "mlx status --help": ["-m", "src", "status", "--help"],
    "bare import": ["-c", "import typer, pydantic"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system seconds of one Python process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main(runs: int) -> None:
    """Print the median CPU time of each command and its ratio to the bare import."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(cpu_seconds(arguments))
    bare = statistics.median(times["bare import"][1:])
    for name, found in times.items():
        median = statistics.median(found[1:])
        print(f"{name:<18} {median:.3f} CPU-s  {median / bare:.2f} × bare import")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
