"""Measure dedup against its peers on one machine: time in alternating pairs, and what was found, against exact truth.

    python python_script/bench_dedup.py --peers ~/peers/bin/python --pairs 3
    python python_script/bench_dedup.py --real /usr/share/doc --peers ~/peers/bin/python
    python python_script/bench_dedup.py --size 20k --peers ~/peers/bin/python --tools text-dedup datatrove
    python python_script/bench_dedup.py --size 1m --pairs 0

`--peers` is the Python of an environment with the peers: python -m venv ~/peers; ~/peers/bin/pip install datasketch rensa gaoya
text-dedup datatrove spacy tokenizers orjson "xxhash<4". All read the JSON Lines file and write what stays; ours writes its ledger,
checksums and a manifest besides. Times are of whole processes with their children.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from dedup_corpus import REAL, generated, real, shifted
from dedup_truth import Truth, gram_sets, judge, truth

HERE = Path(__file__).parent
PIPELINES = ("text-dedup", "datatrove")
SIZES = {"20k": (20_000, 7), "100k": (100_000, 11), "1m": (1_000_000, 21), "3m": (3_000_000, 0)}


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command; seconds of wall and processor time with children, and the peak of its anonymous memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, peak = time.perf_counter(), [0.0]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        watch = threading.Thread(target=_watch, args=(process, peak))
        watch.start()
        error = process.communicate()[1]
        watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{error[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - start, "cpu": used, "anonymous_mb": peak[0]}


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    """Note the most anonymous memory that the process had, in MB."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup")
    while process.poll() is None:
        try:
            found = next(line for line in rollup.read_text().splitlines() if line.startswith("Anonymous:"))
            peak[0] = max(peak[0], int(found.split()[1]) / 1024)
        except (OSError, StopIteration):
            pass
        time.sleep(0.2)  # to ask takes long where much is mapped


def ours(corpus: Path, folder: Path, threads: int) -> list[str]:
    """The command of `mlx dedup`, from JSON Lines to JSON Lines."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"input": str(corpus), "format": "jsonl", "engine": {"type": "local", "threads": threads}}
    (folder / "bench.yaml").write_text(json.dumps({"name": "bench", "dedup": config}))
    return [sys.executable, "-c", "from src.cli import main; main()", "dedup", "bench.yaml", "--force"]


def result_of_ours(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Group and removal of each document, from the ledger."""
    clusters, removed = np.arange(count).astype(object), np.zeros(count, bool)
    names: dict[str, str] = {}
    with (folder / "data/bench/dedup/dropped.jsonl").open() as stream:
        for line in stream:
            row = json.loads(line)
            number = int(row["id"].rpartition(":")[2]) - 1
            removed[number] = True
            survivor = int(row["detail"].removeprefix("of ").partition(": ")[0].rpartition(":")[2]) - 1
            name = names.setdefault(str(survivor), f"group {survivor}")
            clusters[number] = clusters[survivor] = name
    return clusters.astype(str), removed


def exact(corpus: Path, threshold: float) -> Truth:
    """The truth about a corpus, kept beside it."""
    file = corpus.with_suffix(f".truth-{threshold}.npz")
    if not file.exists():
        found = truth(gram_sets(corpus), threshold)
        np.savez(file, count=found.count, pairs=found.pairs, likeness=found.likeness)
    saved = np.load(file)
    return Truth(int(saved["count"]), saved["pairs"], saved["likeness"])


def prepared(options: argparse.Namespace) -> Path:
    """The corpus that was asked for."""
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / ("real.jsonl" if options.real else f"s{options.size}.jsonl")
    if not corpus.exists():
        part = corpus.with_suffix(".part")
        if options.real:
            print(f"{real(part, options.passages, tuple(options.real), 5):,} passages of real text")
        elif options.size == "3m":
            shifted(prepared(argparse.Namespace(**vars(options) | {"size": "1m"})), part, 3)
        else:
            generated(part, *SIZES[options.size])
        part.replace(corpus)
    return corpus


def main() -> None:
    """Measure, print a row of JSON for each tool."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="100k")
    parser.add_argument("--real", nargs="*", default=None, help="folders of real text in place of a generated corpus")
    parser.add_argument("--passages", type=int, default=40_000, help="of real text")
    parser.add_argument("--peers", help="Python of an environment that has the peers")
    parser.add_argument("--tools", nargs="*", default=["rensa", "datasketch"])
    parser.add_argument("--pairs", type=int, default=3, help="alternating runs with each peer")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--no-truth", action="store_true", help="time and memory only")
    parser.add_argument("--folder", default="/tmp/bench_dedup")
    options = parser.parse_args()
    options.real = list(REAL) if options.real == [] else options.real
    corpus = prepared(options)
    folder = Path(options.folder) / f"{corpus.stem}-run"
    command = ours(corpus, folder, options.threads)
    os.environ["PYTHONPATH"] = str(HERE.parent)
    measured(command, folder)  # compiles the kernels where they are not yet
    found = exact(corpus, 0.8) if not options.no_truth and options.size not in ("1m", "3m") else None
    report("mlx", [measured(command, folder) for _ in range(1)], judge(found, *result_of_ours(folder, found.count)) if found else {})
    for tool in options.tools if options.peers else []:
        paired(tool, options, corpus, folder, command, found)


def paired(tool: str, options: argparse.Namespace, corpus: Path, folder: Path, command: list[str], found: Truth | None) -> None:
    """Run ours and a peer in turns."""
    out = folder / tool
    script = "dedup_peers_pipelines.py" if tool in PIPELINES else "dedup_peers.py"
    other = [options.peers, str(HERE / script), tool, str(corpus), str(out)]
    runs = [(measured(command, folder), measured(other, folder)) for _ in range(options.pairs)]
    judged: dict[str, object] = {}
    if found and runs:
        clusters = np.array(json.loads((out / "clusters.json").read_text()))
        removed = clusters != np.arange(len(clusters))
        if (out / "removed.json").exists():
            removed = np.isin(np.arange(len(clusters)), json.loads((out / "removed.json").read_text()))
        judged = judge(found, clusters, removed)
    judged["load"] = round(os.getloadavg()[0], 1)
    for key in ("wall", "cpu"):
        judged[f"{key}_ratio"] = round(statistics.median(mine[key] / its[key] for mine, its in runs), 4) if runs else None
    report(tool, [its for _, its in runs], judged)
    report("mlx", [mine for mine, _ in runs], {"beside": tool})
    shutil.rmtree(out, ignore_errors=True)


def report(tool: str, runs: list[dict[str, float]], more: dict[str, object]) -> None:
    """Print medians."""
    medians = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]} if runs else {}
    print(json.dumps({"tool": tool, **medians, **more}), flush=True)


if __name__ == "__main__":
    main()
