"""Wrong keys one after the other are told to wait, and fill no log; right ones pass."""

from pathlib import Path

from src.serve.access import wrong_keys
from src.serve.access.wrong_keys import WrongKeys


def test_a_row_of_wrong_keys_is_told_to_wait_and_written_down_only_so_often(web, guarded, scripted):
    key = guarded.key()
    with guarded.running(web, scripted, guarded.access(wrong_keys_per_minute=5)) as address:
        found = [web.ask(address, web.chat(), authorization=f"Bearer mlx_0_{number}") for number in range(12)]
        assert [status for status, _, _ in found] == [401] * 5 + [429] * 7
        _, headers, body = found[-1]
        assert body["error"]["code"] == "too_many_wrong_keys" and 55 <= int(headers["retry-after"]) <= 60
        assert web.ask(address, web.chat(), authorization=f"Bearer {key}")[0] == 200, "an old script shuts out its neighbours"
        assert web.ask(address, path="/health", method="GET")[0] == 200
    lines = "".join(path.read_text() for path in Path("serve/audit").glob("*.jsonl"))
    assert lines.count('"denied"') == 5


def test_each_address_has_its_own_count_and_a_minute_is_a_minute():
    now = [0.0]
    counts = WrongKeys(2, lambda: now[0])
    assert [counts.count("a") is None for _ in range(3)] == [True, True, False] and counts.count("b") is None
    now[0] = 60.5
    assert counts.count("a") is None
    assert WrongKeys(None).count("a") is None


def test_addresses_without_end_take_no_memory_without_end(monkeypatch):
    monkeypatch.setattr(wrong_keys, "MOST", 10)
    counts = WrongKeys(1)
    for number in range(100):
        counts.count(str(number))
    assert len(counts._times) == 10
