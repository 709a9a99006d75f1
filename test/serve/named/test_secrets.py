"""SECRETS and LOGS: canaries in every place that holds a secret, and none of them in anything that leaves the process."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from src.core.crash import redacted_crashes
from src.core.log import logged_to
from src.core.secrets import redact
from src.serve import ServeConfig
from src.serve.access.conversations import Conversations, LogConversations
from src.serve.access.json_log import json_lines
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.settings import Access
from src.serve.access.strength import made
from src.serve.access.verify_audit import verify
from src.serve.control.control import Control
from src.serve.engines.openai import OpenAIEngine
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

from .conftest import faulty

NAMES = ("MLX_JWT_SECRET", "MLX_AUDIT_KEY", "MLX_LOG_KEY", "UPSTREAM_API_KEY", "OTHER_PASSWORD")


@pytest.fixture
def canaries(monkeypatch):
    values = {name: made() for name in NAMES}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REDIS_URL", "redis://:canary-redis-password@127.0.0.1:1/0")
    return [*values.values(), "canary-redis-password"]


MOODS = ["well", "broken", "html", "not_json", "cut", "error_200", "redirect", "garbage", "vanished", "too_many"]


def test_canaries_leave_in_no_answer_log_metric_audit_or_openapi(gate, web, canaries, capfd):
    """Whatever the engine does and whoever asks: its key, our secrets, the caller's key and what was said stay inside."""
    folder = Path("serve")
    keys = {role: Keys(folder).create(name=role, role=role, days=None)[1] for role in ("user", "admin")}
    models = {"m": {"type": "openai", "url": gate.upstream.url, "model": "m", "key_env": "UPSTREAM_API_KEY"}}
    roles = {"roles": {"user": {}, "admin": {"routes": ["/*"]}}, "jwt": {}}
    config = ServeConfig.model_validate({"engine": None, "models": models, "access": roles})
    access = config.access
    part = OpenAIEngine(type="openai", url=gate.upstream.url, model="m", key_env="UPSTREAM_API_KEY", retries=0, failures=1000)
    engine = part.open(None, name="m", max_new_tokens=None, log=Path("log"))
    guard = open_guard(access, folder)
    answers = []
    gateway = Gateway({"m": Model("m", engine, part)})
    control = Control(gateway, guard, folder=folder, config=config, reread=lambda: config, lineage={"m": []})
    with logged_to(Path("serve.log")), json_lines(True), web.running(gateway, guard=guard, control=control) as address:
        for mood in MOODS:
            gate.upstream.mood = mood
            for stream in (False, True):
                body = {"model": "m", "messages": [{"role": "user", "content": "canary words"}], "stream": stream}
                answers.append(web.ask(address, body, authorization=f"Bearer {keys['user']}"))
        for path in (
            "/metrics",
            "/admin/openapi.json",
            "/admin/keys",
            "/admin/status",
            "/health",
            "/health/ready",
            "/v1/lineage",
            "/v1/budget",
            "/v1/models",
            f"/{keys['user']}",
            f"/v1/models?key={keys['user']}",
        ):
            answers.append(web.ask(address, path=path, method="GET", authorization=f"Bearer {keys['admin']}"))
            assert answers[-1][0] == (404 if keys["user"] in path and "?" not in path else 200), path
        answers.append(web.ask(address, body, authorization=f"Bearer {canaries[0]}", x_request_id="x"))
        logging.getLogger("mlx.serve").error("an exception that names %s", canaries[3])
    assert gate.upstream.headers[-1]["authorization"] == f"Bearer {canaries[3]}", "the engine gets its key, and the client's stays here"
    told = json.dumps([[status, dict(headers), body] for status, headers, body in answers])
    told += Path("serve.log").read_text() + "".join(capfd.readouterr()) + repr((config, access, part, guard.__dict__.keys()))
    told += "".join(path.read_text() for path in (folder / "audit").iterdir())
    for secret in (*canaries, *(text.split("_", 2)[2] for text in keys.values())):
        assert secret not in told, f"…{told[max(0, told.index(secret) - 200) : told.index(secret)]}"
    assert "canary words" not in told


@pytest.mark.parametrize("text", ["{}", "key={}", "Bearer {}", "redis://:{}@host", '{{"a": "{}"}}', "{0}{0}"])
def test_redact_leaves_no_canary(canaries, text):
    assert not any(each in redact(text.format(each)) for each in canaries)


CRASHES = {
    "process": "raise ValueError(f'no answer of {SECRET}')",
    "thread": "import threading; each = threading.Thread(target=lambda: int(SECRET)); each.start(); each.join()",
    "task nobody looks at": (
        "import asyncio, gc\n"
        "async def broken(): raise ValueError(SECRET)\n"
        "async def main():\n"
        "    asyncio.ensure_future(broken())\n"
        "    await asyncio.sleep(0.01)\n"
        "    gc.collect()\n"
        "asyncio.run(main())"
    ),
    "log of a library": "import logging; logging.getLogger('aiohttp.client').error('sent %s', SECRET)",
}


@pytest.mark.parametrize("name", CRASHES)
def test_crash_dump_tells_no_secret(canaries, name):
    start = "import os\nfrom src.core.log import console\nconsole()\nSECRET = os.environ['UPSTREAM_API_KEY']\n"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    told = subprocess.run([sys.executable, "-c", start + CRASHES[name]], capture_output=True, text=True, check=False, env=env).stderr
    assert "***" in told and not any(each in told for each in canaries), told


def test_crash_of_this_process_or_a_thread_of_it_tells_no_secret(canaries, capsys, monkeypatch):
    for holder, name in ((sys, "excepthook"), (threading, "excepthook")):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler())
    redacted_crashes()
    try:
        raise ValueError(f"no answer of {canaries[3]}")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
        threading.excepthook(threading.ExceptHookArgs((ValueError, error, error.__traceback__, None)))
    told = capsys.readouterr().err
    assert told.count("ValueError: no answer of ***") == 2 and canaries[3] not in told and len(logging.lastResort.filters) == 1


def test_log_line_of_a_conversation_that_the_disk_takes_half_of_is_taken_back(monkeypatch, caplog):
    kept = Conversations(LogConversations(consent=True, pii=False), Path("kept"))
    said = [{"role": "user", "content": "Is it lit?"}]
    kept.keep("ann", "r1", said, "Yes.")
    really = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: really(file, data[: len(data) // 2]))
        kept.keep("ann", "r2", said, "Yes.")
    kept.keep("ann", "r3", said, "Yes.")
    [path] = Path("kept").iterdir()
    assert [json.loads(line)["open"]["id"] for line in path.read_text().splitlines()] == ["r1", "r3"] and "was not kept" in caplog.text


FULL = """
import json, resource
from pathlib import Path
from src.core.log import console
from src.serve.access.audit import AuditLog
from src.serve.access.conversations import Conversations, LogConversations
console()
log = AuditLog(Path("audit"), key=None, fsync="never")
kept = Conversations(LogConversations(consent=True, pii=False), Path("kept"))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
refused = 0
for room in (1500, 2900, soft):  # as a disk that fills up, and again once there is room
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    for number in range(20):
        kept.keep("ann", f"r{number}", [{"role": "user", "content": "Is it lit? " * 5}], "Yes.")
        try:
            log.write({"event": "request", "number": number})
        except OSError:
            refused += 1
log.close()
print(refused)
"""


def test_log_disk_full_tears_no_line_and_goes_on_once_there_is_room(tmp_path):
    """A conversation that finds no room is not kept, and that is told; a line of the audit log that finds none lets nothing be answered."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONDONTWRITEBYTECODE": "1"}  # its files would be cut off too
    ran = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    assert ran.returncode == 0 and int(ran.stdout) > 10, ran.stderr
    rows = [json.loads(line) for path in (tmp_path / "kept").iterdir() for line in path.read_text().splitlines()]
    assert 20 < len(rows) < 60 and ran.stderr.count("a conversation was not kept: ") == 60 - len(rows)
    assert verify(tmp_path / "audit", None).faults == []


WRITER = """
import sys
from pathlib import Path
from src.serve.access.audit import AuditLog
log = AuditLog(Path("audit"), key=None, fsync="never")
print("ready", flush=True)
number = 0
while True:
    log.write({"event": "request", "number": number})
    number += 1
"""


def test_audit_log_survives_kill_9(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, cwd=tmp_path, env=env) as process:
        process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    found = verify(tmp_path / "audit", None)
    assert found.faults == [] and found.lines > 10


def test_log_disk_full_lets_nothing_be_answered_unseen(web, tmp_path, monkeypatch):
    key = Keys(tmp_path).create(name="ann", role="user", days=None)[1]
    guard = open_guard(Access.model_validate({"roles": {"user": {}}}), tmp_path)
    with faulty.Faulty().running() as upstream:
        part = OpenAIEngine(type="openai", url=upstream.url, model="m")
        gateway = Gateway({"m": Model("m", part.open(None, name="m", max_new_tokens=None, log=tmp_path), part)})
        asked = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
        with web.running(gateway, guard=guard) as address:
            assert web.ask(address, asked, authorization=f"Bearer {key}")[0] == 200

            def full(*_):
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr(guard.audit, "write", full)
                status, _, told = web.ask(address, asked, authorization=f"Bearer {key}")
                assert (status, told["error"]["code"]) == (503, "audit_unavailable") and len(upstream.seen) == 1
            assert web.ask(address, asked, authorization=f"Bearer {key}")[0] == 200


def test_log_injection_makes_no_line(gate, caplog):
    caplog.set_level("INFO")
    for text in ('x"}\n{"event":"open"', "x\r\nlevel=error", "\u2028x"):
        gate.ask(gate.body() | {"model": text}, x_request_id="inject")
    assert all(json.loads(line) for line in gate.audit.splitlines())
    assert not any("\n" in record.getMessage() for record in caplog.records)
