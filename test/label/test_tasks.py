"""What can be asked and what comes of it: batches, repair, votes, schemas, gold, people, synthesis."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from src.core.errors import ConfigError, MlxError
from src.core.files import read_jsonl
from src.core.records import Record
from src.core.tables import read_records, write_records
from src.label import label
from src.label.people import as_it_was, harmless

CLASSES = ["bullish", "bearish", "neutral"]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": CLASSES}, "ticker": {"type": "string", "pattern": "^[A-Z]*$"}},
    "required": ["label", "ticker"],
    "additionalProperties": False,
}


def run(url, *texts, records=None, force=False, **section):
    records = records or [Record(f"r{number}", text, {"source": "f"}) for number, text in enumerate(texts)]
    write_records(Path("in.parquet"), records)
    backend = {"type": "openai", "model": "m", "base_url": url, "timeout": 20, "max_retries": 0}
    tasks = {"classes", "json_schema", "synthesis"}
    section = {"input": "in.parquet", "backend": backend, **({} if tasks & set(section) else {"classes": CLASSES}), **section}
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "label": section}, sort_keys=False))
    manifest = label(label.load("p.yaml"), force=force)
    kept = {record.id: record for record in read_records(Path("data/p/label"))}
    dropped = Path("data/p/label/dropped.jsonl")
    drops = {row["id"]: row for row in read_jsonl(dropped)} if dropped.exists() else {}
    assert manifest.counts["read"] == len(kept) + len(drops)
    return kept, drops, manifest.info


def test_rows_share_a_call_and_those_without_an_answer_are_asked_alone(scripted):
    script, url = scripted(answer=lambda text: "who knows" if text == "odd" else "bullish")
    kept, drops, info = run(url, "a", "b", "odd", "c", "d", "e", "f", batch=4, repair=False)
    assert sorted(kept) == ["r0", "r1", "r3", "r4", "r5", "r6"] and drops["r2"]["reason"] == "unparsable"
    assert info["calls"] == 3
    assert [json.loads(call["messages"][-1]["content"])[0]["text"] for call in script.asked if "[" in call["messages"][-1]["content"]] == [
        "a",
        "d",
    ]
    assert info["tokens"]["prompt"] + info["tokens"]["completion"] == script.tokens
    run(url, "new", "a", "b", "odd", "c", "d", "e", "f", batch=4, repair=False)
    assert len(script.asked) == 4  # another row before them moves all, and costs only its own call


def test_a_batch_that_the_server_refuses_is_asked_row_by_row(server, answer):
    def answers(body, number):
        refused = "bomb" in body["messages"][-1]["content"]
        return (400, answer.refusal("not allowed")) if refused else (200, answer.completion("bullish"))

    server.answers = answers
    kept, drops, _ = run(server.url, "a", "bomb", "c", batch=3)
    assert sorted(kept) == ["r0", "r2"] and drops["r1"]["reason"] == "no_answer"


def test_a_faulty_answer_is_shown_with_its_fault_once(scripted):
    script, url = scripted(chatty=1.0)
    kept, _, info = run(url, "it goes up")
    assert kept["r0"].meta["label"] == "bullish" and info["calls"] == 2
    note = script.asked[1]["messages"][0]["content"]
    assert '"Well, that depends on how one looks at it."' in note and "not the name of one of the classes" in note
    assert script.asked[1]["messages"][-1]["content"] == "it goes up"
    kept, drops, _ = run(url, "it goes up again", repair=False)
    assert not kept and drops["r0"]["reason"] == "unparsable"


def test_votes_decide_and_ties_are_for_people(server, answer):
    def answers(body, number):
        said = {"sure": ["bullish"] * 3, "split": ["bullish", "bearish", "bullish"], "tie": CLASSES}
        return 200, answer.completion(said[body["messages"][-1]["content"]][body["seed"]])

    server.answers = answers
    kept, drops, info = run(server.url, "sure", "split", "tie", votes=3, temperature=0.7)
    assert kept["r0"].meta["votes"] == {"bullish": 2}  # the third could not have changed it
    assert kept["r1"].meta["votes"] == {"bullish": 2, "bearish": 1}
    assert drops["r2"]["reason"] == "unsure" and "bearish 1" in drops["r2"]["detail"]
    assert (info["calls"], info["unsure"]) == (8, 1)


def test_a_schema_is_asked_of_the_server_and_checked_here(scripted):
    script, url = scripted(answer=lambda text: {"label": "bullish", "ticker": "xx" if text == "bad" else "ACME"})
    kept, drops, info = run(url, "a", "bad", json_schema=SCHEMA)
    assert kept["r0"].meta["answer"] == {"label": "bullish", "ticker": "ACME"} and kept["r0"].meta["label"] == "bullish"
    assert drops["r1"]["reason"] == "unparsable" and info["classes"] == {"bullish": 1}
    assert script.asked[0]["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert "$.ticker" in script.asked[-1]["messages"][0]["content"]
    kept, _, _ = run(url, "a", "b", json_schema=SCHEMA, batch=2)
    assert kept["r1"].meta["label"] == "bullish"


def test_a_server_that_knows_no_schema_is_asked_in_words(scripted):
    script, url = scripted(answer=lambda text: {"label": "bullish", "ticker": "A"}, structured=False)
    kept, _, _ = run(url, "a", "b", json_schema=SCHEMA, concurrency=1)
    assert len(kept) == 2 and len(script.asked) == 3


def gold_file(**labels):
    with Path("gold.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *labels.items()])


def test_gold_is_measured_first_and_stops_a_bad_model(scripted):
    script, url = scripted()
    gold_file(**{"goes up": "bullish", "down": "1", "so so": "bearish", "well": "neutral", "buy": "bullish"})
    gold = {"path": "gold.csv", "names": {"1": "bearish"}}
    _, _, info = run(url, "a", "goes up", gold=gold)
    found = info["gold"]
    assert (found["rows"], found["answered"], found["accuracy"]) == (5, 5, 0.8) and found["kappa"] == pytest.approx(0.7059, abs=1e-4)
    assert found["accuracy_interval"][0] < 0.8 < found["accuracy_interval"][1] and found["confusion"]["bearish → neutral"] == 1
    assert len(script.asked) == 6 and script.stats()["paid_twice"] == 0
    with pytest.raises(MlxError, match=r"accuracy 0\.800 is below min_accuracy 0\.9 over 5 rows: bearish → neutral 1"):
        run(url, "never asked", gold={**gold, "min_accuracy": 0.9})
    with pytest.raises(MlxError, match="min_kappa"):
        run(url, "never asked", gold={**gold, "min_kappa": 0.9})
    assert len(script.asked) == 6


def test_gold_may_be_in_the_rows_themselves_or_named_by_id(scripted):
    _, url = scripted()
    records = [
        Record(f"r{n}", text, {"right": right}) for n, (text, right) in enumerate([("up", "bullish"), ("x", "neutral"), ("y", None)])
    ]
    assert run(url, records=records, gold={"column": "right"})[2]["gold"]["rows"] == 2
    Path("gold.jsonl").write_text('{"id": "r0", "label": "bullish"}\n{"id": "r1", "label": "bearish"}\n')
    assert run(url, records=records, gold={"path": "gold.jsonl"})[2]["gold"]["accuracy"] == 0.5
    with pytest.raises(MlxError, match="0 rows with a label; labels that are no class: 'f'"):
        run(url, "a", gold={"column": "source"})


def test_unsure_rows_go_to_people_and_come_back(scripted):
    script, url = scripted(answer=lambda text: "hm" if "?" in text else "bullish")
    texts = ("fine", '=HYPERLINK("http://x")?', "-1+1? ünï\nline", "'quoted?")
    kept, drops, info = run(url, *texts)
    assert list(kept) == ["r0"] and info["unsure"] == 3
    with Path("data/p/label/unsure.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["text"][0] for row in rows] == ["'", "'", "'"] and [as_it_was(row["text"]) for row in rows] == list(texts[1:])
    for row, said in zip(rows, ("bearish", "", "Neutral"), strict=True):
        row["label"] = said
    with Path("mine.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {"id": "gone", "label": "bullish"}, {"id": "r0", "label": "bearish"}])
    asked = len(script.asked)
    kept, drops, info = run(url, *texts, corrections="mine.csv")
    assert {name: record.meta["label"] for name, record in kept.items()} == {"r0": "bearish", "r1": "bearish", "r3": "neutral"}
    assert kept["r1"].meta["labelled_by"] == "people" and list(drops) == ["r2"]
    assert (info["corrected"], info["corrections_of_no_row"], info["unsure"]) == (3, 1, 1)
    assert len(script.asked) == asked
    Path("mine.csv").write_text("id,label\nr1,bulish\nr1,bearish\nr1,neutral\n")
    with pytest.raises(MlxError, match=r"row 1: 'bulish' is no answer.*two labels"):
        run(url, *texts, corrections="mine.csv")
    Path("mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MlxError, match="no columns"):
        run(url, *texts, corrections="mine.csv")


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "  =1", "＝1", "'=1", "'x", "x", "", "|x", "%x"])
def test_cells_come_back_as_they_were(cell):
    assert as_it_was(harmless(cell)) == cell
    assert not harmless(cell).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))


def test_instructions_are_made_for_passages(scripted):
    def writes(text):
        if text.startswith("Poor"):
            return {"instruction": "What is poor?", "score": 2}
        copied = text.startswith("Copied")
        return {"instruction": " ".join(text.split()[:9]) if copied else f"Tell me of {text.split()[0]}.", "score": 5}

    _, url = scripted(answer=writes)
    book = "\n\n".join(f"Chapter{number} " + "sea and lamp. " * 20 for number in range(3))
    copied = "Copied words that go on and on for ever so long"
    kept, drops, info = run(url, "Whales are large.", "Poor thing.", copied, book, synthesis={"type": "instructions", "passage": 300})
    made = list(read_jsonl(Path("data/p/label/synthesis.jsonl")))
    assert [each["id"] for each in made] == [f"{name}#instruction" for name in ("r0", "r3#1", "r3#2", "r3#3")]
    assert made[0]["messages"] == [{"role": "user", "content": "Tell me of Whales."}, {"role": "assistant", "content": "Whales are large."}]
    assert made[1]["sources"] == ["r3"] and made[1]["source"] == "f"
    assert {name: drop["reason"] for name, drop in drops.items()} == {"r1": "low_score", "r2": "copies_passage"}
    assert info["synthesis"] == {"type": "instructions", "passages": 6, "examples": 4} and kept["r0"].meta["example"] == "r0#instruction"


def test_dialogues_are_made_with_personas_and_build_reads_them(scripted):
    def writes(text):
        told = json.loads(text)
        turns = [{"role": role, "content": f"{told['person'].split(':')[0]} {role}"} for role in ("user", "assistant") * 2]
        return {"messages": turns[:3] if told["passage"] == "short" else turns}

    _, url = scripted(answer=writes)
    personas = {"sailor": "curt", "child": "curious"}
    kept, drops, _ = run(url, *(f"fact {n}" for n in range(12)), "short", synthesis={"type": "dialogues", "personas": personas}, batch=3)
    made = list(read_jsonl(Path("data/p/label/synthesis.jsonl")))
    assert len(made) == len(kept) == 12 and "3 turns" not in str(made) and drops["r12"]["reason"] == "unparsable"
    assert {each["tags"][1] for each in made} == {"persona:sailor", "persona:child"}
    from src.build.chats import Chats

    read = list(Chats(path=Path("data/p/label/synthesis.jsonl"), group="source").examples())
    assert [each.example["messages"] if hasattr(each, "example") else each[0]["messages"] for each in read] == [
        each["messages"] for each in made
    ]


def test_openrouter_gets_its_headers(scripted):
    script, url = scripted()
    backend = {"type": "openai", "model": "m", "base_url": url, "referer": "https://mine.example", "title": "mine"}
    run(url, "a", backend=backend)
    assert (script.headers[0]["http-referer"], script.headers[0]["x-title"]) == ("https://mine.example", "mine")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"classes": None}, "needs one of `classes`, `json_schema` and `synthesis`, and has none"),
        ({"classes": CLASSES, "json_schema": SCHEMA}, "has classes and json_schema"),
        ({"json_schema": {"type": "nonsense"}}, "is no JSON Schema"),
        ({"json_schema": {"type": "array"}}, "schema of an object"),
        ({"synthesis": {"type": "instructions"}, "gold": {}}, "`gold` goes with classes"),
        ({"json_schema": {"type": "object", "properties": {}}, "gold": {}}, "give json_schema a property `label`"),
        ({"votes": 3}, "all the same at temperature 0"),
        ({"budget": 1}, "needs `price`"),
        ({"gold": {"column": "labelled_by"}}, "is no label"),
        ({"corrections": "nowhere.csv"}, "is not there"),
    ],
)
def test_a_section_that_cannot_be_meant(section, words):
    with pytest.raises(ConfigError, match=words):
        run("http://127.0.0.1:9/v1", "a", **section)


def test_a_prompt_file_takes_the_place_of_instructions_and_examples(scripted):
    script, url = scripted()
    Path("prompt.yaml").write_text("instructions: Judge hard.\nexamples: [{text: t, label: bullish}]\n")
    run(url, "a", prompt="prompt.yaml", instructions="Softly.")
    assert script.asked[0]["messages"][0]["content"].startswith("Judge hard.") and len(script.asked[0]["messages"]) == 4
    for broken, words in (("[]", "is no prompt"), ("examples: [{text: t, label: bulish}]", "'bulish' is no class")):
        Path("prompt.yaml").write_text(broken)
        with pytest.raises(MlxError, match=words):
            run(url, "a", prompt="prompt.yaml")
