"""Passages: whole sentences, within the budget, from one document each."""

import random
import time
from pathlib import Path

import pytest

from src.build.candidate import Candidate
from src.build.cut import Passage, TooLong, cut, units
from src.build.instructions import Instructions, continuation
from src.build.passages import Passages
from src.core.ledger import Drop
from src.core.records import Record
from src.text.encoding import decode
from src.text.sentences import ENDED
from src.text.tokens import estimate_tokens

from .conftest import book, by_estimate, reasons


def of(text: str, budget: int) -> list[Passage | TooLong]:
    return list(cut(text, budget=budget, measure=lambda texts: [len(text.split()) for text in texts]))


def test_a_passage_ends_at_the_end_of_a_paragraph_where_it_is_full_enough() -> None:
    one, two = "He came here. " * 3, "She left us there. " * 3
    assert of(f"{one.strip()}\n\n{two.strip()}", 12)[0].text == one.strip()


def test_else_at_the_end_of_a_sentence() -> None:
    text = "One two three four. " * 5
    assert [piece.text.count(".") for piece in of(text.strip(), 10)] == [2, 2, 1]


def test_a_sentence_over_the_budget_is_no_passage() -> None:
    found = of("Short one. Then " + "long " * 19 + "end. Short two.", 8)
    assert [type(piece) for piece in found] == [Passage, TooLong, Passage]
    assert found[1].tokens == 21


def test_a_passage_spans_no_heading() -> None:
    assert [piece.text for piece in of("He came.\n\nCHAPTER II.\n\nHe left.", 50)] == ["He came.", "He left."]


def test_what_does_not_end_keeps_what_follows() -> None:
    assert [unit.text for unit in units(["He said:", "“Go.” And so on.", "Then—"])] == ["He said:\n\n“Go.”", "And so on."]


def test_a_budget_counted_on_the_whole_holds() -> None:
    def measure(texts: list[str]) -> list[int]:  # dearer together than apart
        return [len(text.split()) + text.count(". ") for text in texts]

    assert all(
        measure([piece.text])[0] <= 9 for piece in cut("One two three. " * 9, budget=9, measure=measure) if isinstance(piece, Passage)
    )


def test_shapes_take_turns() -> None:
    found = [each for each in Passages(tokens=80).examples([book(1)], measure=by_estimate, seed=1) if isinstance(each, Candidate)]
    assert [each.example["tags"][1] for each in found[:4]] == ["shape:continuation", "shape:instruction"] * 2
    opening, answer = found[0].example["messages"]
    first, rest = opening["content"].split("\n\n", 1)[1], answer["content"]
    assert f"{first} {rest}" in book(1).text.replace("\n\n", " ") or f"{first}\n\n{rest}" in book(1).text
    assert found[0].key == "books/1.txt" and found[0].example["sources"] == ["books/1.txt"]


def test_a_single_sentence_cannot_be_continued() -> None:
    record = Record("a", "word " * 50 + "end.", {})
    [only] = Passages(shapes=("continuation",)).examples([record], measure=by_estimate, seed=1)
    assert isinstance(only, Candidate) and only.example["tags"][1] == "shape:instruction"
    assert only.key == "a"


def test_every_passage_that_is_no_example_says_why() -> None:
    records = [Record("short", "He came.", {}), Record("empty", "CHAPTER I.", {}), Record("long", "word " * 900 + "end.", {}), book(1)]
    found = list(Passages(limit=2, tokens=80).examples(records, measure=by_estimate, seed=1))
    kept = [each for each in found if isinstance(each, Candidate)]
    assert len(kept) == 2
    assert set(reasons(found)) == {"too_short", "no_passage", "sentence_too_long", "over_limit"}


def test_the_limit_draws_the_same_whatever_the_order() -> None:
    records = [book(1), book(2)]
    drawn = [
        {
            each.example["id"]
            for each in Passages(limit=3, tokens=80).examples(order, measure=by_estimate, seed=5)
            if isinstance(each, Candidate)
        }
        for order in (records, records[::-1])
    ]
    assert drawn[0] == drawn[1]


def test_instructions_name_what_tells_the_passage_from_others() -> None:
    texts = [
        "Then came Aunt Polly, and the whitewash, whitewash and the bucket, bucket.",
        "He said that Huck was gone, and the river, river rose.",
    ]
    made = Instructions(texts, "Tom\n Sawyer")
    found = {made.instruction(texts[0], "Then came Aunt Polly.", random.Random(seed)) for seed in range(60)}
    assert "Tell me about Aunt Polly in your own voice." in found
    assert "Tell me about Aunt Polly, as in Tom Sawyer." in found
    assert any("bucket, whitewash" in each for each in found)
    assert "Begin with “Then came Aunt Polly.” and go on in your own voice." in found
    assert not any("Huck" in each for each in found)


def test_an_instruction_for_a_text_without_names() -> None:
    made = Instructions(["so."], "")
    assert made.instruction("so.", "so " * 20, random.Random(1)) == f"Begin with “{('so ' * 14).strip()}…” and go on in your own voice."


def test_a_continuation_holds_its_opening() -> None:
    assert continuation("He came.", random.Random(1)).endswith("\n\nHe came.")


@pytest.mark.parametrize("name", ["76/76-0.txt", "3176/3176-0.txt", "148/148-8.txt", "4650/4650-8.txt"])
def test_real_books(shared: Path, name: str) -> None:
    text = decode((shared / "gutenberg" / name).read_bytes())[0].replace("\r\n", "\n")
    start = time.perf_counter()
    found = list(Passages().examples([Record(name, text, {"title": "A Book"})], measure=by_estimate, seed=1))
    assert time.perf_counter() - start < 60
    kept = [each.example["messages"] for each in found if isinstance(each, Candidate)]
    assert len(kept) > 100
    assert all(ENDED.search(messages[1]["content"]) for messages in kept)
    assert all(estimate_tokens(messages[1]["content"]) <= 512 for messages in kept)
    assert sum(isinstance(each, Drop) for each in found) < 0.1 * len(found)
    words = sum(len(message["content"].split()) for messages in kept for message in messages)
    assert words > 0.9 * len(text.split())
