"""Runs a peer of bench_dedup.py that is a program with stages of its own: dedup_peers_pipelines.py NAME IN OUT.

Each works as its documentation has it, with 16 bands of 8 rows over runs of five words, on two processes. Writes what it writes
(text-dedup a data set, datatrove JSON Lines) under OUT, and the number of each document's group to OUT/clusters.json; what
the tool dropped without a group has one of its own and stands in OUT/removed.json with the others.
"""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

BANDS, ROWS, SIZE, THRESHOLD, PROCESSES = 16, 8, 5, 0.8, 2


def text_dedup(path: Path, out: Path) -> tuple[list[int], list[int]]:
    """Its command `python -m text_dedup.minhash`; the joined pairs are kept by its option --debug."""
    options: dict[str, object] = {
        "path": "json",
        "data_files": path,
        "split": "train",
        "cache_dir": out / "cache",
        "output": out / "kept",
        "column": "text",
        "ngram": SIZE,
        "min_length": 1,
        "num_perm": BANDS * ROWS,
        "threshold": THRESHOLD,
        "b": BANDS,
        "r": ROWS,
        "num_proc": PROCESSES,
    }
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-m", "text_dedup.minhash", *given, "--use_auth_token", "", "--debug"], check=True)
    with path.open() as stream:
        count = sum(1 for _ in stream)
    with (out / "kept" / "uf.pkl").open("rb") as stream:
        joined = pickle.load(stream)
    roots = [joined.find(number) for number in range(count)]
    return roots, [number for number, root in enumerate(roots) if root != number]


def datatrove(path: Path, out: Path) -> tuple[list[int], list[int]]:
    """The four stages of its example minhash_deduplication.py on this machine; the input is cut in two, a task each."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.typeshelper import Languages

    config = MinhashConfig(n_grams=SIZE, num_buckets=BANDS, hashes_per_bucket=ROWS)
    source, place = out / "in", {name: str(out / name) for name in ("signatures", "buckets", "removed", "kept", "gone")}
    _halved(path, source)
    reader = JsonlReader(str(source), glob_pattern="*.jsonl")
    gone = JsonlWriter(place["gone"], compression=None)
    stages = [
        ([reader, MinhashDedupSignature(place["signatures"], config=config, language=Languages.english)], PROCESSES),
        ([MinhashDedupBuckets(place["signatures"], place["buckets"], config=config)], BANDS),
        ([MinhashDedupCluster(place["buckets"], place["removed"], config=config, save_cluster_id=True)], 1),
        (
            [
                reader,
                MinhashDedupFilter(place["removed"], exclusion_writer=gone, load_cluster_ids=True),
                JsonlWriter(place["kept"], compression=None),
            ],
            PROCESSES,
        ),
    ]
    for number, (steps, tasks) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=PROCESSES, logging_dir=str(out / f"log{number}")).run()
    return _groups(out)


def _halved(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    with path.open("rb") as stream:
        lines = stream.readlines()
    for number in range(PROCESSES):
        (folder / f"{number}.jsonl").write_bytes(b"".join(lines[number * len(lines) // 2 : (number + 1) * len(lines) // 2]))


def _groups(out: Path) -> tuple[list[int], list[int]]:
    rows: dict[int, object] = {}
    removed = []
    for name in ("kept", "gone"):
        for file in sorted((out / name).rglob("*.jsonl")):
            with file.open() as stream:
                for line in stream:
                    row = json.loads(line)
                    group = row.get("metadata", {}).get("minhash_cluster_id", -1)
                    number = int(row.get("id", 0))  # a 0 is not written
                    rows[number] = group if group != -1 else f"alone {number}"
                    removed += [number] if name == "gone" else []
    numbers: dict[object, int] = {}
    return [numbers.setdefault(rows[number], number) for number in sorted(rows)], removed


def main() -> None:
    """Run one."""
    name, path, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    roots, removed = {"text-dedup": text_dedup, "datatrove": datatrove}[name](path, out)
    (out / "clusters.json").write_text(json.dumps(roots))
    (out / "removed.json").write_text(json.dumps(removed))


if __name__ == "__main__":
    main()
