"""Several workers on one port: ready, killed, replaced, drained; and what cannot be shared is refused."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from src.core.errors import ConfigError, MlxError
from src.llm.launcher import answers, free_port
from src.serve import serve
from src.serve.access.audit import AuditLog
from src.serve.access.keys import Keys
from src.serve.access.verify_audit import verify

STAND_IN = Path(__file__).parents[1] / "llm" / "stand_in.py"
PROGRAM = "import sys; from src.core.log import console; from src.serve import serve; console(); serve(serve.load(*sys.argv[1:]))"


def write(url: str, more: str = "") -> Path:
    file = Path("two.yaml")
    model = f'{{type: openai, url: "{url}", model: m}}'
    file.write_text(
        f"name: two\nserve:\n  engine: null\n  page: false\n  port: 0\n  workers: 2\n  models: {{fast: {model}}}\n"
        f"  access: {{roles: {{user: {{}}}}}}\n{more}"
    )
    return file


@pytest.fixture
def upstream(web):
    port = free_port()
    process = subprocess.Popen([sys.executable, str(STAND_IN), "--port", str(port), "--notes", "notes", "--delay", "0"])
    web.until(lambda: answers(port, "/health"))
    yield f"http://127.0.0.1:{port}/v1"
    process.kill()
    process.wait()


def running(process, module):
    found = set()
    for each in psutil.Process(process.pid).children():
        with suppress(psutil.Error):  # it ends in this moment
            found |= {each.pid} if module in each.cmdline() else set()
    return found


def test_two_workers_answer_one_that_is_killed_is_replaced_and_both_end_in_peace(web, upstream):
    Path("memory_bank").mkdir()
    file = write(upstream, "  memory: {store: {type: numpy}, embedder: {type: hashing}}\n")
    key = Keys(Path("data/two/serve")).create(name="ann", role="user", days=None)[1]
    with Path("out.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(file)], stdout=log, stderr=log)
    try:
        said = Path("out.log")
        web.until(lambda: "2 workers are ready" in said.read_text() or process.poll() is not None, 90)
        address = json.loads(Path("data/two/serve/server.json").read_text())["url"]
        ask = {"model": "fast", "messages": [{"role": "user", "content": "x"}]}
        assert [web.ask(address, ask, authorization=f"Bearer {key}")[0] for _ in range(6)] == [200] * 6
        web.until(lambda: web.ask(address, path="/health/ready", method="GET")[2]["memory"] == "ready", 60)
        first, second, *beside = sorted(psutil.Process(process.pid).children(), key=lambda each: "src.serve.worker" not in each.cmdline())
        assert not first.children() and not second.children()
        first.kill()
        web.until(lambda: len(running(process, "src.serve.worker") - {first.pid, second.pid}) == 1, 60)
        assert {each.pid for each in beside} == running(process, "src.serve.memory.process") | running(
            process, "src.serve.embedding.process"
        )
        assert web.ask(address, ask, authorization=f"Bearer {key}")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()
    found = verify(Path("data/two/serve/audit"), None)
    assert found.chains >= 2 and not found.faults
    assert "was ended by signal 9" in said.read_text() and not any(each.is_running() for each in (second, *beside))


def test_what_workers_cannot_share_is_refused_before_anything_runs():
    file = write("http://127.0.0.1:1/v1")
    file.write_text(file.read_text().replace("user: {}", "user: {tokens_per_day: 5}"))
    with pytest.raises(ConfigError, match=r"limits: \{type: redis\}, or workers: 1"):
        serve.load(str(file))
    serve.load(str(file), "serve.access.limits.type=redis")
    with pytest.raises(ConfigError, match="each of several workers would load the transformers model"):
        serve.load(str(file), "serve.engine.type=transformers", "serve.access=null")


def test_workers_that_cannot_start_end_the_command(monkeypatch):
    file = write("http://127.0.0.1:1/v1")
    with pytest.raises(MlxError, match="lets nobody in"):
        serve(serve.load(str(file)))
    Keys(Path("data/two/serve")).create(name="ann", role="user", days=None)
    monkeypatch.setenv("PYTHONHOME", os.devnull)  # no Python starts
    with pytest.raises(MlxError, match="a worker ended with code 1 before it was ready"):
        serve(serve.load(str(file)))
    assert not Path("data/two/serve/server.json").exists()


def test_a_chain_of_each_worker_is_its_own():
    chains = [AuditLog(Path("audit"), key=None, fsync="never") for _ in range(2)]
    for number in range(4):
        chains[number % 2].write({"number": number})
    for each in chains:
        each.close()
    assert verify(Path("audit"), None).chains == 2 and not verify(Path("audit"), None).faults
