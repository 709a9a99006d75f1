import csv
import json
import threading
from pathlib import Path

import pytest
import yaml

from src.core.errors import ConfigError, MlxError
from src.core.files import read_jsonl
from src.core.records import Record
from src.core.tables import read_records, write_records
from src.label import label

RULES = [
    {"match": "(?i)good|up", "reply": "positive"},
    {"match": "(?i)bad|down", "reply": "Negative."},
    {"match": r"\?", "reply": "well, who knows"},
]
SCRIPTED = {"type": "scripted", "rules": RULES, "default": '{"label": "neutral"}'}
CLASSES = ["positive", "negative", "neutral"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def project(*overrides, records=None, **section):
    section = {"input": "in.parquet", "backend": SCRIPTED, "classes": CLASSES, **section}
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "label": section}, sort_keys=False))
    if records is not None:
        write_records(Path("in.parquet"), records)
    return label.load("p.yaml", *overrides)


def run(*overrides, force=False, **section):
    manifest = label(project(*overrides, **section), force=force)
    dropped = Path("data/p/label/dropped.jsonl")
    drops = {row["id"]: row for row in read_jsonl(dropped)} if dropped.exists() else {}
    kept = {record.id: record for record in read_records(Path("data/p/label"))}
    assert manifest.counts["read"] == len(kept) + len(drops)
    return kept, drops, manifest.info


def rows(*texts, **meta):
    return [Record(f"r{number}", text, dict(meta)) for number, text in enumerate(texts)]


def served(server, **settings):
    return {"type": "openai", "model": "m", "base_url": server.url, "max_retries": 0, "timeout": 20, **settings}


def test_rows_get_the_class_that_the_answer_names():
    kept, drops, info = run(records=rows("Good news", "going down", "so what", "and you?", source="f"))
    assert {name: record.meta for name, record in kept.items()} == {
        "r0": {"source": "f", "label": "positive", "labelled_by": "scripted"},
        "r1": {"source": "f", "label": "negative", "labelled_by": "scripted"},
        "r2": {"source": "f", "label": "neutral", "labelled_by": "scripted"},
    }
    assert list(kept) == ["r0", "r1", "r2"]
    assert drops["r3"]["reason"] == "unparsable"
    assert drops["r3"]["detail"] == "scripted said 'well, who knows'"
    assert drops["r3"]["row"]["text"] == "and you?"
    assert info["classes"] == {"positive": 1, "negative": 1, "neutral": 1}
    assert (info["model"], info["calls"], info["cached"], info["tokens"]) == ("scripted", 5, 0, {"prompt": 0, "completion": 0})


def test_real_tweets(shared):
    with (shared / "finance_tweets/zeroshot_tfns/sent_train.csv").open(encoding="utf-8", newline="") as stream:
        tweets = [
            Record(f"t:{number}", row["text"], {"label": row["label"]}) for number, row in enumerate(csv.DictReader(stream)) if number < 300
        ]
    rules = [
        {"match": r"(?i)\b(?:beat|raise[sd]?|upgrade|bull|buy|higher)", "reply": "bullish"},
        {"match": r"(?i)\b(?:cut|miss|downgrade|weak|loses|sell)", "reply": "bearish"},
    ]
    classes = {"bearish": "the price will fall", "bullish": "the price will rise", "neutral": ""}
    kept, drops, info = run(records=tweets, classes=classes, backend={"type": "scripted", "rules": rules, "default": "neutral"})
    assert list(kept) == [tweet.id for tweet in tweets]
    assert not drops
    assert sum(info["classes"].values()) == 300
    assert min(info["classes"].values()) > 10
    assert kept["t:2"].meta == {"label": "bearish", "given_label": "0", "labelled_by": "scripted"}


def test_a_label_that_is_there_stays_and_costs_nothing(server):
    records = [
        *rows("a", "b"),
        Record("g", "good", {"label": "POSITIVE"}),
        Record("o", "old", {"label": "other"}),
        Record("n", "x", {"label": None}),
    ]
    kept, _, info = run(records=records, backend=served(server))
    assert kept["g"].meta == {"label": "positive"}
    assert kept["o"].meta == {"label": "positive", "given_label": "other", "labelled_by": "m"}
    assert "given_label" not in kept["n"].meta
    assert info["given"] == 1
    assert info["classes"]["positive"] == 5
    assert len(server.asked) == 4


def test_relabelling_tells_how_often_the_model_agrees():
    records = [Record("a", "good", {"label": "positive"}), Record("b", "bad", {"label": "positive"}), Record("c", "good", {})]
    kept, _, info = run(records=records, relabel=True)
    assert kept["b"].meta["given_label"] == "positive"
    assert kept["b"].meta["label"] == "negative"
    assert (info["agreed"], info["differed"]) == (1, 1)


def test_what_the_model_is_told(server):
    run(
        records=rows("x" * 20),
        backend=served(server),
        classes={"positive": "gladness", "negative": ""},
        instructions="Judge!",
        examples=[{"text": "yes", "label": "positive"}],
        max_chars=5,
        max_tokens=7,
    )
    assert server.asked[0]["max_tokens"] == 7
    assert server.asked[0]["temperature"] == 0
    assert [message["role"] for message in server.asked[0]["messages"]] == ["system", "user", "assistant", "user"]
    assert "- positive: gladness\n- negative\n" in server.asked[0]["messages"][0]["content"]
    assert server.asked[0]["messages"][-1]["content"] == "xxxxx"


def test_nothing_is_paid_for_twice(server):
    _, _, first = run(records=rows("a", "b", "a", "c"), backend=served(server))
    assert (first["calls"], first["cached"], first["tokens"]) == (3, 1, {"prompt": 21, "completion": 3})
    _, _, again = run(backend=served(server), force=True)
    assert (again["calls"], again["cached"]) == (0, 4)
    run(records=rows("c", "d", "a"), backend=served(server), concurrency=2)
    assert len(server.asked) == 4
    run(backend=served(server), instructions="Otherwise!")
    assert len(server.asked) == 7


def test_with_all_answers_kept_no_key_is_needed(server, monkeypatch):
    monkeypatch.setattr("src.llm.openai.is_loopback", lambda url: False)
    with monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-123456")
        run(records=rows("a", "b"), backend=served(server))
    assert run(backend=served(server), force=True)[2]["cached"] == 2
    with pytest.raises(MlxError, match="OPENAI_API_KEY is not set"):
        run(records=rows("a", "b", "c"), backend=served(server))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_run_that_breaks_in_its_third_call_goes_on_from_there(server, answer, monkeypatch, concurrency):
    from src.llm.openai_client import OpenAIClient

    whole = OpenAIClient.ask
    calls = []
    lock = threading.Lock()

    async def breaks(self, messages, **settings):
        with lock:
            calls.append(messages)
            number = len(calls)
        if number == 3:
            raise RuntimeError("broke")
        return await whole(self, messages, **settings)

    records = rows(*(f"text {number}" for number in range(10)))
    monkeypatch.setattr(OpenAIClient, "ask", breaks)
    with pytest.raises(RuntimeError, match="broke"):
        run(records=records, backend=served(server), concurrency=concurrency)
    paid = len(server.asked)
    assert 2 <= paid < 10
    monkeypatch.setattr(OpenAIClient, "ask", whole)
    kept, _, info = run(backend=served(server), concurrency=concurrency)
    assert (info["calls"], info["cached"]) == (10 - paid, paid)
    texts = [call["messages"][-1]["content"] for call in server.asked]
    assert sorted(texts) == sorted({record.text for record in records})
    assert list(kept) == [record.id for record in records]


def test_a_row_without_an_answer_is_dropped_with_the_reason(server, answer):
    def answers(body, number):
        bad = "bomb" in body["messages"][-1]["content"]
        return (400, answer.refusal("not allowed")) if bad else (200, answer.completion("neutral"))

    server.answers = answers
    kept, drops, info = run(records=rows("a", *(f"bomb {number}" for number in range(8)), "b"), backend=served(server), concurrency=1)
    assert list(kept) == ["r0", "r9"]
    assert drops["r1"]["reason"] == "no_answer"
    assert "not allowed" in drops["r1"]["detail"]
    assert (info["calls"], info["failed"]) == (2, 8)


def test_an_answer_cut_short_says_so(server, answer):
    server.answers = lambda body, number: (200, answer.completion("Let me think", finish="length"))
    _, drops, _ = run(records=rows("a"), backend=served(server))
    assert drops["r0"]["detail"] == "m said 'Let me think', cut at max_tokens 32"


@pytest.mark.parametrize(
    ("status", "most", "words"),
    [(401, 1, "key is refused"), (404, 1, "no model"), (500, 5, "refused"), (400, 5, "refused"), (429, 5, "too many")],
)
def test_where_no_answer_is_to_be_had_the_run_stops(server, answer, status, most, words):
    server.answers = lambda body, number: (status, answer.refusal("no"))
    with pytest.raises(MlxError, match=words):
        run(records=rows(*map(str, range(20))), backend=served(server), concurrency=1)
    assert len(server.asked) == most
    assert not Path("data/p/label/manifest.json").exists()


def test_a_server_that_dies_ends_the_run_and_the_next_one_goes_on(server, answer):
    server.answers = lambda body, number: (
        (200, answer.completion("neutral")) if number <= 4 or number > 10 else (503, answer.refusal("down"))
    )
    records = rows(*map(str, range(20)))
    with pytest.raises(MlxError, match="down"):
        run(records=records, backend=served(server), concurrency=1)
    assert len(server.asked) == 9
    server.answers = lambda body, number: (200, answer.completion("neutral"))
    kept, _, info = run(backend=served(server), concurrency=4)
    assert info["calls"] == 16
    assert list(kept) == [record.id for record in records]


def test_few_rows_that_all_fail_are_an_error_too(server, answer):
    server.answers = lambda body, number: (500, answer.refusal("broken"))
    with pytest.raises(MlxError, match="broken"):
        run(records=rows("a", "b"), backend=served(server))


def test_nobody_listens():
    backend = {"type": "ollama", "model": "m", "base_url": "http://127.0.0.1:9", "max_retries": 0}
    with pytest.raises(MlxError, match="cannot be reached") as found:
        run(records=rows("a", "b"), backend=backend)
    assert "ollama serve" in found.value.hint


def test_the_number_of_threads_changes_no_byte(server, answer):
    server.answers = lambda body, number: (200, answer.completion(CLASSES[len(body["messages"][-1]["content"]) % 3]))
    prints = []
    for concurrency in (1, 8):
        Path("checkpoint/cache/answers.sqlite").unlink(missing_ok=True)
        project_ = project(records=rows(*("x" * number for number in range(1, 30))), backend=served(server), concurrency=concurrency)
        prints.append(label(project_, force=True).fingerprint)
    assert len(set(prints)) == 1
    assert len(server.asked) == 58


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"classes": ["a"]}, "two classes at least"),
        ({"classes": ["a", "a", "b"]}, "names a class twice"),
        ({"classes": ["a", "A."]}, "differ in case or punctuation only"),
        ({"classes": ["a", "?"]}, "hold nothing else: '\\?'"),
        ({"classes": 3}, "label.classes"),
        ({"examples": [{"text": "t", "label": "positiv"}]}, "did you mean 'positive'"),
        ({"backend": {"type": "openai"}}, "p.yaml:4: label.backend.model: missing"),
        ({"backend": {"type": "opnai", "model": "m"}}, "no type 'opnai'; did you mean 'openai'"),
        ({"concurrency": 0}, "label.concurrency"),
    ],
)
def test_a_config_that_cannot_be_meant(section, words):
    with pytest.raises(ConfigError, match=words):
        project(**section)


def test_the_schema_lets_classes_be_a_list_or_a_mapping():
    schema = json.dumps(label.Config.model_json_schema()["properties"]["classes"])
    assert '"array"' in schema
    assert '"object"' in schema


def test_no_rows():
    assert run(records=[])[0] == {}
