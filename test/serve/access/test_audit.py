"""The audit log: every line that is changed, taken away or moved is found; a crash is not taken for that."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.serve.access.audit import AuditLog, audit_key
from src.serve.access.strength import made
from src.serve.access.verify_audit import verify

FOLDER = Path("audit")
KEY = made().encode()


@pytest.fixture(params=[None, KEY], ids=["unkeyed", "keyed"])
def key(request):
    return request.param


def chain(key, lines=6, close=True):
    log = AuditLog(FOLDER, key=key, fsync="never")
    for n in range(lines):
        log.write({"event": "request", "who": f"k{n}"})
    if close:
        log.close()
    return log.path


def rewrite(path, change):
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines))


def test_what_nobody_touched_is_whole(key):
    paths = [chain(key), chain(key)]
    found = verify(FOLDER, key)
    assert (found.chains, found.lines, found.faults, found.notes) == (2, 16, [], [])
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)


CHANGES = {
    "changed": (lambda lines: lines.__setitem__(3, lines[3].replace("k2", "k9")), ":4: was changed"),
    "broken": (lambda lines: lines.__setitem__(3, "{}\n"), ":4: this is no line of the log"),
    "removed": (lambda lines: lines.pop(3), ":4: before it line n=4 was taken away"),
    "several removed": (lambda lines: lines.__delitem__(slice(2, 5)), ":3: before it lines n=3 to 5 were taken away"),
    "the first removed": (lambda lines: lines.pop(0), ":1: before it line n=1 was taken away"),
    "the last removed": (lambda lines: lines.__delitem__(slice(6, 8)), "lines n=7 to 8 were taken away from the end"),
    "moved": (lambda lines: lines.insert(2, lines.pop(4)), ":3: stands out of order: n=5 where n=3 belongs"),
    "repeated": (lambda lines: lines.insert(2, lines[1]), ":3: stands out of order: n=2 where n=3 belongs"),
    "emptied": (lambda lines: lines.clear(), "lines n=1 to 8 were taken away from the end"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_with_its_line(key, name):
    change, words = CHANGES[name]
    path = chain(key)
    rewrite(path, change)
    faults = verify(FOLDER, key).faults
    assert words in faults[0] and str(path) in faults[0], faults
    if name == "changed":
        assert len(faults) == 1


def test_a_file_that_is_gone_is_missed(key):
    first, _ = chain(key), chain(key)
    first.unlink()
    assert any("the whole file is gone" in fault for fault in verify(FOLDER, key).faults)
    first.with_suffix(".head").unlink()
    faults = verify(FOLDER, key).faults
    assert len(faults) == 1 and "names it" in faults[0]


def test_an_end_cut_off_with_its_head_is_missed_by_the_next_chain(key):
    first, _ = chain(key), chain(key)
    rewrite(first, lambda lines: lines.pop())
    kept = json.loads(first.read_text().splitlines()[-1])
    first.with_suffix(".head").write_text(f"{kept['n']:020d} {kept['hash']}\n")
    faults = verify(FOLDER, key).faults
    assert len(faults) == 1 and "the line is gone that" in faults[0]


def test_a_chain_forged_without_the_key_is_found():
    chain(None)
    assert "without a key, and one is set here" in verify(FOLDER, KEY).faults[0]


def test_a_chain_with_a_key_is_not_checked_without():
    chain(KEY)
    assert "sealed with a key that is not set here" in verify(FOLDER, None).faults[0]


def test_a_torn_last_line_is_told_and_the_next_chain_goes_on(key):
    first = chain(key, close=False)
    with first.open("a") as stream:
        stream.write('{"n": 8, "time": "2026-1')
    second = chain(key)
    found = verify(FOLDER, key)
    assert found.faults == [] and len(found.notes) == 1 and f"{first}:8: the last line is torn" in found.notes[0]
    assert first.stem in json.loads(second.read_text().splitlines()[0])["before"]


def test_kill_9_while_it_writes_leaves_a_log_that_verifies(tmp_path):
    program = (
        "from pathlib import Path; from src.serve.access.audit import AuditLog; log = AuditLog(Path('audit'), key=None, fsync='never')\n"
        "while True: log.write({'event': 'request', 'who': 'k' * 50}); print(flush=True)"
    )
    for _ in range(3):
        root = Path(__file__).parents[3]
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
        ) as process:
            for _ in range(200):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    found = verify(FOLDER, None)
    assert found.chains == 3 and found.lines >= 600 and found.faults == []


def test_a_disk_that_takes_half_a_line_tears_nothing(monkeypatch):
    log = AuditLog(FOLDER, key=None, fsync="never")
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(OSError, match="did not take"):
        log.write({"event": "request"})
    monkeypatch.setattr(os, "write", write)
    log.write({"event": "request"})
    log.close()
    found = verify(FOLDER, None)
    assert found.lines == 3 and found.faults == [] and found.notes == []


def test_a_weak_key_is_refused(monkeypatch):
    monkeypatch.setenv("MLX_AUDIT_KEY", "secret")
    with pytest.raises(MlxError, match="MLX_AUDIT_KEY is shorter"):
        audit_key("MLX_AUDIT_KEY")
    monkeypatch.delenv("MLX_AUDIT_KEY")
    assert audit_key("MLX_AUDIT_KEY") is None and audit_key(None) is None


def lines():
    return [json.loads(line) for path in sorted(Path("serve/audit").glob("*.jsonl")) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("fsync", ["line", "second"])
def test_the_server_writes_who_asked_what_and_never_what_was_said(web, guarded, scripted, fsync):
    scripted.text = "the answer canary"
    access = guarded.access(roles={"user": {"models": ["keeper"]}, "none": {"models": []}}, audit={"fsync": fsync})
    key, other = guarded.key(), guarded.key("none")
    with guarded.running(web, scripted, access) as address:
        for stream in (False, True):
            assert web.ask(address, web.chat("a canary question", stream=stream), authorization=f"Bearer {key}")[0] == 200
        web.ask(address, web.chat(), authorization=f"Bearer {other}")
        web.ask(address, web.chat(), authorization="Bearer mlx_canary_key")
        web.ask(address, raw=b'{"canary', authorization=f"Bearer {key}")
        web.ask(address, path="/v1/nothing?canary=1", method="GET", authorization=f"Bearer {key}")
    told = lines()
    assert verify(Path("serve/audit"), None).faults == []
    assert [each["event"] for each in told] == ["open", *["request", "answer"] * 3, "request", "request", "answer", "request", "close"]
    assert (told[2]["prompt_tokens"], told[2]["completion_tokens"], told[2]["status"], told[2]["model"]) == (7, 3, 200, "keeper")
    assert told[4]["completion_tokens"] == 3 and told[1]["who"] == key.split("_")[1] and told[1]["role"] == "user"
    assert (told[6]["decision"], told[6]["reason"]) == ("denied", "model_not_allowed")
    assert (told[7]["decision"], told[7]["reason"]) == ("denied", "invalid_api_key") and "who" not in told[7]
    assert (told[9]["status"], told[10]["reason"]) == (400, "route_not_allowed")
    text = json.dumps(told)
    assert "canary" not in text and key not in text


def test_nothing_is_answered_that_cannot_be_written_down(web, guarded, scripted, monkeypatch):
    def full(log, entry):
        raise OSError(28, "No space left on device")

    key = guarded.key()
    with guarded.running(web, scripted, guarded.access()) as address:
        with monkeypatch.context() as patched:
            patched.setattr(AuditLog, "write", full)
            status, _, body = web.ask(address, web.chat(), authorization=f"Bearer {key}")
            assert (status, body["error"]["code"]) == (503, "audit_unavailable") and scripted.asked == 0
        assert web.ask(address, web.chat(), authorization=f"Bearer {key}")[0] == 200
