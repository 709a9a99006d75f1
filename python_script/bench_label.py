"""Label 2,000 tweets against a scripted server: throughput against the declared rate, and what a kill -9 loses or pays twice.

    nice -n 15 .venv/bin/python python_script/bench_label.py [--rows 2000] [--rate 3000] [--batch 1] [--kills 3] [--folder ../shared/data]

The server runs in a process of its own, has latency, and answers some calls with 429 and Retry-After, 500, broken bodies or talk.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402

from src.core.records import Record  # noqa: E402
from src.core.tables import read_records, write_records  # noqa: E402

FAULTS = {"latency": 0.3, "throttled": 0.02, "retry_after": 1, "broken": 0.02, "garbled": 0.01, "chatty": 0.01}


def tweets(folder, count):
    """Distinct tweets as records."""
    found = {}
    with (folder / "finance_tweets/zeroshot_tfns/sent_train.csv").open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            found.setdefault(row["text"], Record(f"sent_train.csv:{number}", row["text"], {"source": "tfns"}))
            if len(found) == count:
                break
    return list(found.values())


class Bench:
    """A server, a project and the command that labels it."""

    def __init__(self, folder, rows, **label):
        self.folder = folder
        settings = [word for key, value in FAULTS.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        self.server = subprocess.Popen(
            [sys.executable, str(ROOT / "test/servers/scripted_openai.py"), *settings], stdout=subprocess.PIPE, text=True
        )
        self.url = self.server.stdout.readline().strip()
        folder.mkdir(parents=True)
        write_records(folder / "in.parquet", rows)
        section = {
            "input": "in.parquet",
            "backend": {"type": "openai", "model": "m", "base_url": self.url},
            "classes": {"bearish": "the price will fall", "bullish": "the price will rise", "neutral": ""},
            **label,
        }
        (folder / "p.yaml").write_text(yaml.safe_dump({"name": "p", "label": section}))

    def start(self):
        """Start the stage in a process of its own."""
        code = "from src.core import log; log.console(); from src.label import label; label(label.load('p.yaml'))"
        return subprocess.Popen([sys.executable, "-c", code], cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def stats(self):
        """The server's own count."""
        with urllib.request.urlopen(self.url.replace("/v1", "/stats")) as stream:
            return json.load(stream)

    def close(self):
        """End the server."""
        self.server.terminate()
        self.server.wait()

    def outcome(self):
        """Rows kept, and the manifest's figures."""
        manifest = json.loads((self.folder / "data/p/label/manifest.json").read_text())
        return [record.id for record in read_records(self.folder / "data/p/label")], manifest


def throughput(folder, rows, rate, batch):
    """One undisturbed run under a declared rate."""
    bench = Bench(folder, rows, requests_per_minute=rate, batch=batch)
    start = time.perf_counter()
    assert bench.start().wait() == 0
    seconds = time.perf_counter() - start
    stats = bench.stats()
    kept, manifest = bench.outcome()
    bench.close()
    per_minute = (stats["requests"] - 1) / stats["span"] * 60
    print(f"{len(rows):,} rows, {stats['requests']:,} requests in {stats['span']:.1f} s ({seconds:.1f} s with start and end)")
    print(f"requests a minute: {per_minute:,.0f} of {rate:,.0f} declared: {per_minute / rate:.1%}; at once up to {stats['most_at_once']}")
    busiest = stats["busiest_minute"]
    print(f"busiest 60 s: {busiest:,} of {rate:,.0f}; statuses {stats['statuses']}; retries {manifest['info']['retries']}")
    print(f"kept {len(kept):,}, dropped {manifest['counts']['dropped']}, lost {len(rows) - manifest['counts']['read']}")
    print(f"paid twice: {stats['paid_again']}; peak {manifest['peak_mb']:.0f} MB")


def kills(folder, rows, count, batch, concurrency):
    """Runs that are killed at random moments, then one to the end."""
    bench = Bench(folder, rows, batch=batch, concurrency=concurrency)
    chance = random.Random(7)
    killed = 0
    while killed < count:
        running = bench.start()
        before = bench.stats()["requests"]
        while bench.stats()["requests"] == before and running.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0.3, 3))
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            killed += 1
        running.wait()
    assert bench.start().wait() == 0
    stats = bench.stats()
    kept, manifest = bench.outcome()
    bench.close()
    print(f"\nkill -9 {count} times, {concurrency} calls at a time, batches of {batch}:")
    print(f"kept {len(kept):,}, dropped {manifest['counts']['dropped']}, lost {len(rows) - manifest['counts']['read']}")
    print(f"paid again: {stats['paid_again']} (calls in flight at {count} kills: up to {count * concurrency} of {batch} rows)")


def main():
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rows", 2000), ("rate", 3000), ("batch", 1), ("kills", 3), ("concurrency", 16)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, default=ROOT.parent / "shared/data")
    given = parser.parse_args()
    rows = tweets(given.folder, given.rows)
    with tempfile.TemporaryDirectory() as temporary:
        throughput(Path(temporary) / "rate", rows, given.rate, given.batch)
        kills(Path(temporary) / "kill", rows, given.kills, given.batch, given.concurrency)


if __name__ == "__main__":
    main()
