"""Texts become tokens in one way only."""

import pytest

from src.models.class_tokens import class_ids, class_text
from src.models.conversation import Fault
from src.models.scratch_encoder import wordpiece

TEXTS = ["shares fall on weak sales", "shares rise on strong sales", "the board meets on monday"]


@pytest.fixture(scope="module")
def tokenizer():
    return wordpiece(TEXTS, vocab=200)


def ids(tokenizer, text, longest=64, too_long="drop"):
    return class_ids(tokenizer, text, longest=longest, too_long=too_long)


def test_a_text_stands_between_the_marks(tokenizer):
    found = ids(tokenizer, "Shares FALL")
    assert tokenizer.convert_ids_to_tokens(found) == ["[CLS]", "shares", "fall", "[SEP]"]


def test_what_is_too_long_is_dropped_or_cut_but_keeps_its_marks(tokenizer):
    assert ids(tokenizer, TEXTS[0], longest=4) == Fault("too_long", "7 tokens, over 4")
    cut = ids(tokenizer, TEXTS[0], longest=4, too_long="truncate")
    assert tokenizer.convert_ids_to_tokens(cut) == ["[CLS]", "shares", "fall", "[SEP]"]
    assert ids(tokenizer, TEXTS[0], longest=7) == ids(tokenizer, TEXTS[0], longest=7, too_long="truncate")


def test_a_padding_token_in_the_text_is_taken_out(tokenizer):
    """Decoders take the last token that is none for the end of the text."""
    assert ids(tokenizer, "shares [PAD] fall [PAD]") == ids(tokenizer, "shares fall")
    assert ids(tokenizer, "  \n") == Fault("no_text")


def test_the_text_is_what_the_user_says_last():
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "2"},
    ]
    assert class_text({"messages": turns}) == "two"
    assert class_text({"messages": turns[:1]}) == ""
