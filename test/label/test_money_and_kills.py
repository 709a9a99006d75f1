"""What is paid, counted by the server itself: under faults, a kill -9, a budget and a declared rate."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from src.core.errors import MlxError
from src.core.records import Record
from src.core.tables import read_records, write_records
from src.label import label
from src.label.estimate import estimate

ROOT = Path(__file__).parents[2]
CLASSES = ["bullish", "bearish", "neutral"]


def project(url, *, texts=None, **section):
    backend = {"type": "openai", "model": "m", "base_url": url, "timeout": 20}
    section = {"input": "in.parquet", "backend": backend, "classes": CLASSES, **section}
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "label": section}, sort_keys=False))
    if texts is not None:
        write_records(Path("in.parquet"), [Record(f"r{number}", text, {}) for number, text in enumerate(texts)])
    return label.load("p.yaml")


def kept():
    return {record.id: record for record in read_records(Path("data/p/label"))}


def texts(count):
    return [f"text {number} goes {'up' if number % 2 else 'down'}" for number in range(count)]


@pytest.mark.parametrize("batch", [1, 8])
def test_under_every_fault_each_row_is_labelled_and_paid_once(scripted, batch):
    script, url = scripted(throttled=0.1, retry_after=0.05, broken=0.1, garbled=0.1, chatty=0.1)
    manifest = label(project(url, texts=texts(120), batch=batch, concurrency=16))
    assert len(kept()) == 120
    assert {record.meta["label"] for record in kept().values()} == {"bullish", "bearish"}
    assert script.statuses[429] and script.statuses[500] and manifest.info["retries"]
    assert script.stats()["paid_twice"] == 0
    assert script.most_at_once <= 16


@pytest.mark.parametrize("batch", [1, 5])
def test_kill_9_loses_nothing_and_pays_nothing_twice_but_calls_in_flight(server_file, batch):
    with subprocess.Popen([sys.executable, str(server_file), "--latency", "0.05"], stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        project(url, texts=texts(150), batch=batch, concurrency=4)
        code = "from src.label import label; label(label.load('p.yaml'))"

        def stats():
            with urllib.request.urlopen(url.replace("/v1", "/stats")) as stream:
                return json.load(stream)

        for _ in range(2):
            before = stats()["requests"]
            with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}) as running:
                while stats()["requests"] < before + 8 and running.poll() is None:
                    time.sleep(0.02)
                running.kill()
        assert not Path("data/p/label/manifest.json").exists()
        manifest = label(label.load("p.yaml"))
        found = stats()
        server.kill()
    assert list(kept()) == [f"r{number}" for number in range(150)]
    assert manifest.counts["dropped"] == 0
    assert found["paid"] == 150
    assert found["paid_again"] <= 2 * 4 * batch


def test_the_declared_rate_is_used_and_kept_to(scripted):
    script, url = scripted(latency=0.05)
    label(project(url, texts=texts(60), requests_per_minute=900))
    stats = script.stats()
    assert 0.9 <= 59 / stats["span"] * 60 / 900 <= 1.03  # a short window also holds the first burst


def test_a_budget_stops_the_run_and_a_larger_one_takes_it_on(scripted, caplog):
    script, url = scripted()
    price = {"input": 100.0, "output": 100.0}
    with pytest.raises(MlxError, match="is used up: ") as found:
        label(project(url, texts=texts(80), budget=0.1, price=price, concurrency=8))
    assert "raise label.budget" in found.value.hint
    assert "to ask: 80 rows in 80 calls" in caplog.text and "may not do" in caplog.text
    first = script.stats()
    assert 0.06 < first["tokens"] * 100 / 1e6 <= 0.1
    with pytest.raises(MlxError, match="used up"):
        label(label.load("p.yaml"))
    assert script.stats()["tokens"] == first["tokens"]
    manifest = label(project(url, budget=5.0, price=price))
    assert script.stats()["paid_twice"] == 0 and len(kept()) == 80
    assert manifest.info["spent"] == pytest.approx(script.tokens * 100 / 1e6)
    assert manifest.info["cost"] < manifest.info["spent"]


def test_an_estimate_asks_nobody(scripted):
    script, url = scripted()
    made = project(url, texts=[*texts(20), "text 0 goes down"], batch=8, price={"input": 1, "output": 2}, votes=3, temperature=1)
    found = estimate(made)
    assert (found.rows, found.calls) == (20, 6)
    assert found.cost == pytest.approx((found.prompt + 2 * found.completion) / 1e6)
    assert not script.times
    label(made)
    assert script.tokens <= found.prompt + found.completion
    assert estimate(made).calls == 0


def test_retry_after_is_waited_for(scripted):
    script, url = scripted(throttled=1.0, retry_after=1.6)
    label(project(url, texts=["a up"]))
    assert script.times[1] - script.times[0] >= 0.5  # a date has whole seconds only


def test_from_a_notebook(scripted):
    import asyncio

    _, url = scripted()
    made = project(url, texts=texts(3))

    async def cell():
        return label(made)

    assert asyncio.run(cell()).counts["kept"] == 3


def test_an_interrupted_run_keeps_what_was_under_way(server_file):
    import signal

    with subprocess.Popen([sys.executable, str(server_file), "--latency", "0.4"], stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        project(url, texts=texts(40), concurrency=4)
        code = "from src.label import label; label(label.load('p.yaml'))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL) as running:
            while True:
                with urllib.request.urlopen(url.replace("/v1", "/stats")) as stream:
                    if json.load(stream)["requests"] >= 6:
                        break
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            running.wait(20)
        label(label.load("p.yaml"))
        with urllib.request.urlopen(url.replace("/v1", "/stats")) as stream:
            found = json.load(stream)
        server.kill()
    assert found["paid"] == 40 and found["paid_twice"] == 0
