"""How fast and in how much memory 1.7 million tweet-like rows go through scrape, dedup, label (a sample) and build.

    python python_script/bench_tweets.py --tweets ../shared/data/finance_tweets --rows 1700000

Half of the rows are made of the words of the others, a tenth are near-copies (another link, a retweet), some are damaged.
Each stage runs in a process of its own; its figures are those of its manifest. Labels come from a scripted backend.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
PROJECT = """name: tweets
seed: 7
scrape:
  sources: [{type: files, path: tweets.jsonl, meta: {licence: CC BY 4.0}}]
  filters: [{type: length, min_words: 3}, {type: pii}]
dedup: {threshold: 0.8}
build:
  sources: [{type: passages, tokens: 128, min_words: 5, shapes: [instruction]}]
"""
LABEL = """name: tweets
seed: 7
label:
  input: sample.parquet
  classes: [bullish, bearish, neutral]
  backend:
    type: scripted
    rules: [{match: "(?i)beat|rais|up", reply: bullish}, {match: "(?i)cut|miss|down", reply: bearish}]
    default: neutral
"""


def texts(folder: Path) -> list[str]:
    """The real tweets."""
    found = []
    for path, delimiter in ((folder / "zeroshot_tfns/sent_train.csv", ","), *((each, ";") for each in (folder / "taborda").glob("*.csv"))):
        with path.open(encoding="utf-8", newline="") as stream:
            found += [row["text"] for row in csv.DictReader(stream, delimiter=delimiter) if row.get("text")]
    return found


def tweets(real: list[str], count: int) -> Iterator[bytes]:
    """As many lines, the same each time."""
    dice = random.Random(11)
    words = [word for text in real for word in text.split() if not word.startswith("http")]
    last = real[0]
    for number in range(count):
        kind = dice.random()
        if number < len(real):
            last = real[number]
        elif kind < 0.1:
            last = f"RT @user{dice.randrange(9999)}: {last.split(' https://')[0]} https://t.co/{dice.getrandbits(40):010x}"
        else:
            start = dice.randrange(len(words) - 40)
            last = (
                " ".join(words[start : start + 6] + dice.choices(words, k=dice.randrange(4, 20)))
                + f" https://t.co/{dice.getrandbits(40):010x}"
            )
        if kind > 0.9999:
            yield b'{"text": "cut off\n'
        yield json.dumps({"text": last[:280], "created": "2020-04-15", "user": number}, ensure_ascii=False).encode() + b"\n"


def run(stage: str, file: str) -> dict:
    """Run a stage; return its manifest, with CPU seconds and the most memory of its own that all its processes had."""
    process = psutil.Popen([sys.executable, "-m", "src", stage, file], env={**os.environ, "PYTHONPATH": str(ROOT)})
    peak, cpu = 0, {}
    while process.poll() is None:
        used = 0
        for each in [process, *children(process)]:
            with contextlib.suppress(psutil.Error):
                used += each.memory_full_info().uss
                cpu[each.pid] = sum(each.cpu_times()[:2])
        peak = max(peak, used)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(process.returncode)
    manifest = json.loads(Path("data/tweets", stage, "manifest.json").read_text())
    return manifest | {"cpu": sum(cpu.values()), "peak_mb": max(peak / 2**20, manifest["peak_mb"])}


def children(process: psutil.Process) -> list[psutil.Process]:
    """The processes that it has started, and theirs."""
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def main() -> None:
    """Make the rows where they are not there yet, run the stages, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tweets", type=Path, default=ROOT.parent / "shared/data/finance_tweets")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/bench_tweets"))
    parser.add_argument("--rows", type=int, default=1_700_000)
    parser.add_argument("--sample", type=int, default=10_000)
    parser.add_argument("--stages", nargs="+", default=["scrape", "dedup", "label", "build"])
    settings = parser.parse_args()
    real = texts(settings.tweets.resolve())
    settings.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(settings.folder)
    if not (made := Path("tweets.jsonl")).exists() or sum(1 for _ in made.open("rb")) < settings.rows:
        with made.open("wb") as stream:
            stream.writelines(tweets(real, settings.rows))
    Path("tweets.yaml").write_text(PROJECT)
    Path("label.yaml").write_text(LABEL)
    print(f"{'stage':8}{'read':>11}{'kept':>11}{'seconds':>9}{'CPU s':>9}{'rows/s':>9}{'peak MB':>9}  dropped")
    for stage in settings.stages:
        if stage == "label":
            import polars as pl

            pl.scan_parquet("data/tweets/dedup/records.parquet").head(settings.sample).sink_parquet("sample.parquet")
        done = run(stage, "label.yaml" if stage == "label" else "tweets.yaml")
        counts = done["counts"]
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts["reasons"].items())
        speed = counts["read"] / done["seconds"]
        print(f"{stage:8}{counts['read']:>11,}{counts['kept']:>11,}{done['seconds']:>9.1f}{done['cpu']:>9.1f}", end="")
        print(f"{speed:>9,.0f}{done['peak_mb']:>9,.0f}  {reasons}", flush=True)


if __name__ == "__main__":
    main()
