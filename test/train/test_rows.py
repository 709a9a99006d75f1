"""Every row of a dataset becomes rows of tokens or a named line of the ledger; nothing is cut unasked."""

import json
import logging
from types import SimpleNamespace

import pytest

from src.core.ledger import Ledger
from src.models.load import load_tokenizer
from src.train.rows import read_rows

SYSTEM = {"role": "system", "content": "Be brief."}


def exchange(number, words=4):
    return [{"role": "user", "content": f"What of {number}?"}, {"role": "assistant", "content": f"Of {number}: " + "lamp " * words}]


def example(name, *exchanges):
    return {"id": name, "messages": [SYSTEM, *(message for each in exchanges for message in each)], "tools": []}


@pytest.fixture
def read(tiny, tmp_path):
    """A function that reads examples as training would."""

    def make(examples, **options):
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in examples))
        with Ledger(tmp_path) as ledger:
            run = SimpleNamespace(
                input=lambda _: SimpleNamespace(path=tmp_path),
                ledger=ledger,
                info={},
                progress=lambda items, **_: items,
                log=logging.getLogger("mlx.train"),
            )
            rows = read_rows(run, options.pop("tokenizer", None) or load_tokenizer(tiny), "train", **options)
        assert ledger.read == ledger.kept + ledger.dropped and ledger.kept == len(rows)
        return rows, ledger, run.info["rows"]["train"]

    return make


def said(rows, tiny):
    tokenizer = load_tokenizer(tiny)
    return [tokenizer.decode(list(row.ids)) for row in rows]


LONG = example("long", *(exchange(n) for n in range(6)))
SHORT = example("short", exchange(9))


def test_too_long_is_dropped(read, tiny, caplog):
    rows, ledger, info = read([LONG, SHORT], longest=100)
    assert [row.id for row in rows] == ["short"] and ledger.reasons == {"too_long": 1}
    assert info["too_long"] == 1 and info["tokens_lost"] > 100 and info["learned_lost"] > 0
    assert "1 rows over 100 tokens were dropped" in caplog.text


def test_too_long_is_split_at_turns(read, tiny, caplog):
    whole, _, before = read([LONG], longest=2000)
    rows, ledger, info = read([LONG, SHORT], longest=100, too_long="split")
    parts = [row for row in rows if row.id.startswith("long#part")]
    assert len(parts) > 1 and not ledger.dropped and all(len(row.ids) <= 100 for row in rows)
    texts = said(parts, tiny)
    assert all("Be brief." in text for text in texts)
    assert [number for text in texts for number in range(6) if f"What of {number}?" in text] == list(range(6))
    assert sum(row.learned for row in parts) == whole[0].learned == before["learned"]
    assert info["parts"] == len(parts) and info["learned_lost"] == 0
    assert f"made into {len(parts)} parts" in caplog.text


def test_what_no_split_can_save_is_named(read):
    rows, ledger, info = read([example("a", exchange(1), exchange(2, 200), exchange(3))], longest=100, too_long="split")
    assert [row.id for row in rows] == ["a#part1", "a#part3"] and ledger.reasons == {"too_long": 1}
    assert info["learned_lost"] > 200
    line = json.loads(ledger.path.read_text())
    assert line["id"] == "a#part2" and line["row"]["messages"][1]["content"] == "What of 2?"


def test_truncation_keeps_the_last_turns(read, tiny):
    rows, ledger, info = read([LONG], longest=100, too_long="truncate")
    (text,) = said(rows, tiny)
    assert rows[0].id == "long" and "What of 5?" in text and "What of 0?" not in text and not ledger.dropped
    assert info["tokens_lost"] > 0 and info["learned_lost"] > 0


def test_a_row_that_truncation_leaves_nothing_of_is_named(read):
    rows, ledger, _ = read([example("a", exchange(1), exchange(2, 200))], longest=100, too_long="truncate")
    assert not rows and ledger.reasons == {"nothing_left": 1}


def test_turns_that_a_whole_cannot_teach_become_rows(read, tokenizer_of):
    rows, _, info = read([example("a", exchange(1), exchange(2))], longest=500, tokenizer=tokenizer_of("qwen3"))
    assert [row.id for row in rows] == ["a", "a#turn2"] and info["turns_apart"] == 1 and info["examples"] == 1
    rows, ledger, _ = read([example("a", exchange(1), exchange(2, 60))], longest=100, tokenizer=tokenizer_of("qwen3"), too_long="split")
    assert [row.id for row in rows] == ["a#part1"] and ledger.reasons == {"too_long": 1}
