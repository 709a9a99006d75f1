"""Canary secrets and canary words stay where they belong: in no log, no error, no page, and in kept conversations only when asked for."""

import json
import logging
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.log import console, logged_to
from src.core.sealing import CONVERSATIONS, Seal, SealError
from src.serve.access.conversations import Conversations, LogConversations
from src.serve.access.json_log import json_lines
from src.serve.access.strength import made


@pytest.fixture
def secrets_set(monkeypatch):
    values = {name: made() for name in ("MLX_JWT_SECRET", "MLX_AUDIT_KEY", "MLX_LOG_KEY", "OTHER_TOKEN")}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def test_no_secret_and_no_word_gets_out(web, guarded, scripted, secrets_set, capsys):
    async def broken(request):
        raise RuntimeError(f"upstream said {secrets_set['OTHER_TOKEN']}")

    console()
    access = guarded.access(jwt={})
    key = guarded.key()
    good = {"authorization": f"Bearer {key}"}
    answers = []
    with logged_to(Path("serve.log")), json_lines(True), guarded.running(web, scripted, access) as address:
        answers.append(web.ask(address, web.chat("canary question"), **good))
        answers.append(web.ask(address, web.chat("canary question", model="x\r\ncanary"), **good))
        for path in ("/metrics", "/openapi.json", "/docs", "/health", "/v1/models"):
            answers.append(web.ask(address, path=path, method="GET", **good))
            answers.append(web.ask(address, path=path, method="GET", authorization=f"Bearer {secrets_set['MLX_JWT_SECRET']}"))
        scripted.ask = broken
        answers.append(web.ask(address, web.chat("canary question"), x_request_id="mine", **good))
        assert answers[-1][0] == 500
    log = Path("serve.log").read_text()
    seen = json.dumps([[status, dict(headers), body] for status, headers, body in answers]) + log + capsys.readouterr().err
    seen += "".join(path.read_text() for path in Path("serve/audit").iterdir()) + repr(access)
    for secret in (*secrets_set.values(), key, key.split("_", 2)[2]):
        assert secret not in seen
    assert "canary question" not in seen
    rows = [json.loads(line) for line in log.splitlines()]
    failed = next(row for row in rows if "exception" in row)
    assert failed["request_id"] == "mine" and failed["level"] == "error" and "upstream said ***" in failed["exception"]
    assert any(row["message"].startswith("chat 200") and len(row["request_id"]) == 16 for row in rows)
    assert {"time", "level", "logger", "message"} <= set(rows[0])


def test_the_log_is_text_again_afterwards(tmp_path):
    with logged_to(Path("a.log")):
        with json_lines(True):
            logging.getLogger("mlx.serve").warning("one\ntwo")
        logging.getLogger("mlx.serve").warning("three")
    first, second = Path("a.log").read_text().splitlines()
    assert json.loads(first)["message"] == "one\ntwo" and second.endswith("WARNING mlx.serve: three")


def kept(secret):
    path = next(Path("kept").glob("*.jsonl"))
    assert path.stat().st_mode & 0o777 == 0o600
    return [Seal(secret, CONVERSATIONS).open(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sealed", [False, True])
def test_conversations_are_kept_redacted_and_sealed(web, guarded, scripted, secrets_set, monkeypatch, sealed, stream):
    if not sealed:
        monkeypatch.delenv("MLX_LOG_KEY")
    scripted.text = "write to bob@example.org then"
    conversations = Conversations(LogConversations(consent=True), Path("kept"))
    key = guarded.key()
    text = f"I am ann@example.org and my token is {secrets_set['OTHER_TOKEN']}"
    with guarded.running(web, scripted, guarded.access(), conversations=conversations) as address:
        assert web.ask(address, web.chat(text, stream=stream), authorization=f"Bearer {key}", x_request_id="r1")[0] == 200
        assert web.ask(address, web.chat("never", store=False, stream=stream), authorization=f"Bearer {key}")[0] == 200
    (row,) = kept(secrets_set["MLX_LOG_KEY"] if sealed else None)
    assert (row["id"], row["who"]) == ("r1", key.split("_")[1])
    assert [each["role"] for each in row["messages"]] == ["system", "user", "assistant"]
    told = json.dumps(row)
    assert "I am" in told and "write to" in told and "@example.org" not in told and secrets_set["OTHER_TOKEN"] not in told
    if sealed:
        raw = next(Path("kept").glob("*.jsonl")).read_text()
        assert "I am" not in raw
        for other in (made(), None):
            with pytest.raises(SealError, match=r"another key|no key"):
                kept(other)


def test_conversations_are_kept_without_a_door_too_and_a_full_disk_hurts_no_answer(web, scripted, caplog):
    Path("kept").write_text("in the way")
    conversations = Conversations(LogConversations(consent=True, pii=False), Path("kept"))
    with web.running(scripted, conversations=conversations) as address:
        assert web.ask(address, web.chat())[0] == 200
        web.until(lambda: "was not kept" in caplog.text)
        Path("kept").unlink()
        assert web.ask(address, web.chat("mail ann@example.org"))[0] == 200
    assert kept(None)[0]["who"] is None and "ann@example.org" in json.dumps(kept(None))
    assert "unsealed" in caplog.text


def test_a_seal_that_was_changed_is_not_opened():
    secret = made()
    line = Seal(secret, "a").close({"x": 1})
    assert Seal(secret, "a").open(line) == {"x": 1}
    assert line != Seal(secret, "a").close({"x": 1})
    with pytest.raises(SealError, match="another key, or changed"):
        Seal(secret, "b").open(line)
    for bad in ("", "{", "[]", '{"sealed": 5}', '{"sealed": "é"}', '{"open": 5}', '{"sealed": ""}', line[:-6] + '"}'):
        with pytest.raises(SealError):
            Seal(secret, "a").open(bad)


def test_a_weak_key_is_refused(monkeypatch):
    monkeypatch.setenv("MLX_LOG_KEY", "password")
    with pytest.raises(MlxError, match="MLX_LOG_KEY is shorter"):
        Conversations(LogConversations(consent=True), Path("kept"))
