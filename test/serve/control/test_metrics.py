"""What is counted, and told in Prometheus' form."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from src.serve.control.gpu import gpu_memory
from src.serve.control.metrics import Metrics
from src.serve.control.shapes import Health
from src.serve.control.shared_counts import VARIABLE, forget_worker, share_counts
from src.serve.routing.residency import Residency
from src.serve.routing.room import Need
from src.serve.routing.settings import Budgets, Shadows
from src.serve.routing.shadows import Counts, ShadowTraffic


def counted(text):
    """Values by name and labels."""
    return {
        (each.name, *sorted(each.labels.values())): each.value for family in text_string_to_metric_families(text) for each in family.samples
    }


def told(plane, address):
    return counted(plane.ask(address, "/metrics", "watcher")[2])


def test_requests_tokens_and_tries_are_counted(plane):
    with plane.running() as address:
        for stream in (False, True):
            assert plane.chat(address, stream=stream)[0] == 200
        assert plane.chat(address, "nobody")[0] == 404
        plane.upstream.mood = "broken"
        assert plane.chat(address, "two")[0] == 502
        found = told(plane, address)
    path = "/v1/chat/completions"
    assert {status: found["mlx_requests_total", path, status] for status in ("200", "404", "502")} == {"200": 2, "404": 1, "502": 1}
    assert (found["mlx_tokens_total", "one", "prompt"], found["mlx_tokens_total", "completion", "one"]) == (14, 12)
    assert found["mlx_model_tries_total", "answered", "one"] == 2 and found["mlx_model_tries_total", "failed", "two"] == 1
    assert found["mlx_model_up", "one"] == 1 and found["mlx_model_inflight", "one"] == 0
    assert found["mlx_request_seconds_count", path] == 4 == found["mlx_request_seconds_bucket", "+Inf", path]
    assert 0 < found["mlx_first_byte_seconds_sum", path] <= found["mlx_request_seconds_sum", path] < 10
    assert 20e6 < found["mlx_worker_memory_bytes",] < 20e9 and found["mlx_worker_open_files",] > 3


def test_states_are_told_and_old_ones_let_go(plane):
    with plane.running() as address:
        told(plane, address)
        plane.ask(address, "/admin/models/one/drain", "admin", "POST")
        found = told(plane, address)
        assert (found["mlx_model_state", "drained", "one"], found["mlx_model_state", "one", "ready"], found["mlx_model_up", "one"]) == (
            1,
            0,
            0,
        )


def test_copies_in_the_shadow_and_what_models_may_take_are_told(plane):
    gateway = plane.gateway()
    gateway.shadows = ShadowTraffic(Shadows())
    gateway.shadows.counts["two"] = Counts(sent=4, answered=2, failed=1, left_out=3)
    gateway.residency = Residency({"one": Need(2, 1)}, Budgets(vram_gb=4, ram_gb=8), None, None)
    metrics = Metrics(gateway)
    metrics.text()
    gateway.shadows.counts["two"].answered += 1
    found = counted(metrics.text().decode())
    copies = [found["mlx_shadow_copies_total", *sorted(("two", result))] for result in ("answered", "failed", "left_out")]
    assert copies == [3, 1, 3]
    health = Health.of(gateway)
    assert health.room == {"vram_gb": 4, "ram_gb": 8} and health.residency[0]["state"] == "unloaded"


def test_clients_make_up_no_series_and_nothing_secret_is_told(plane):
    with plane.running() as address:
        for number in range(30):
            plane.ask(address, f"/made/up/{number}", "user")
            plane.chat(address, f"canary-{number}")
        key = plane.keys["user"][1]
        plane.ask(address, f"/{key}?api_key={key}", "user")
        text = plane.ask(address, "/metrics", "watcher")[2]
    assert "made" not in text and "canary" not in text and "mlx_" + key.split("_")[1] not in text and key not in text
    assert counted(text)["mlx_requests_total", "403", "other"] == 31


def test_a_client_that_leaves_counts_as_one(plane):
    plane.upstream.mood = "silent"
    with plane.running() as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        headers = {"content-type": "application/json", "authorization": f"Bearer {plane.keys['user'][1]}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(plane.web.chat(model="one")), headers)
        plane.web.until(lambda: plane.upstream.seen and told(plane, address)["mlx_model_inflight", "one"] == 1)
        connection.close()
        plane.web.until(lambda: told(plane, address).get(("mlx_requests_total", "/v1/chat/completions", "499")) == 1)
        assert told(plane, address)["mlx_model_inflight", "one"] == 0
        plane.web.until(lambda: plane.upstream.left == 1, 5)


WORKER = """
import sys, time
from src.serve.control.metrics import Metrics
from src.serve.gateway.gateway import Gateway
class Engine:
    paths, state = frozenset(("/v1/chat/completions",)), "ready"
metrics = Metrics(Gateway.of(Engine(), name="m"))
for _ in range(int(sys.argv[1])):
    metrics.answered("/v1/chat/completions", 200, 0.1, 0.2)
    metrics.used("m", 5, 7)
metrics.gateway.models["m"].tally.answered += int(sys.argv[1])
metrics.gateway.models["m"].tally.inside = 2
print(metrics.text().decode(), flush=True)
sys.stdin.read()
"""


def test_several_workers_add_up_and_a_dead_one_keeps_what_it_counted(monkeypatch):
    folder = Path("counts")
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"of an earlier server")
    monkeypatch.setenv(VARIABLE, "")
    share_counts(folder)
    assert not list(folder.iterdir())
    workers = []

    def work(count):
        command = [sys.executable, "-c", WORKER, str(count)]
        workers.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            )
        )
        lines = []
        while not (lines and lines[-1] == "\n"):
            lines.append(workers[-1].stdout.readline())
            assert lines[-1], "the worker ended"
        return counted("".join(lines))

    try:
        work(3)
        found = work(4)
        requests = ("mlx_requests_total", "/v1/chat/completions", "200")
        assert (found[requests], found["mlx_tokens_total", "m", "prompt"], found["mlx_model_tries_total", "answered", "m"]) == (7, 35, 7)
        assert found["mlx_model_inflight", "m"] == 4
        assert {labels[0] for name, *labels in found if name == "mlx_worker_memory_bytes"} == {str(each.pid) for each in workers}, (
            "memory is told worker by worker"
        )
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait(10)
        forget_worker(workers[0].pid)
        found = work(1)
        assert found[requests] == 8 and found["mlx_model_inflight", "m"] == 4
    finally:
        for each in workers:
            each.kill()
            each.communicate()


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("echo '0, 1024, 81559'; echo '1, 3, 16384'", {"0": (1024 << 20, 81559 << 20), "1": (3 << 20, 16384 << 20)}),
        ("echo 'NVIDIA-SMI has failed'; exit 9", {}),
        ("echo '[N/A]'", {}),
    ],
)
def test_the_memory_of_gpus_is_what_the_driver_says(monkeypatch, script, wanted):
    program = Path("bin/nvidia-smi")
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent.resolve()}:{os.environ['PATH']}")
    assert gpu_memory() == wanted


def test_without_a_gpu_nothing_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert gpu_memory() == {}


def test_the_metrics_keep_to_what_prometheus_reads(plane):
    with plane.running() as address:
        status, headers, text = plane.ask(address, "/metrics", "watcher")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    assert all(re.match(r"mlx_[a-z_]+$", name) for name in re.findall(r"^# TYPE (\S+)", text, re.M))
