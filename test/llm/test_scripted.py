import pytest
from pydantic import ValidationError

from src.llm.scripted import Rule, ScriptedBackend


def test_the_first_rule_that_fits_the_last_user_message_answers():
    part = ScriptedBackend(rules=(Rule(match="(?i)good", reply="positive"), Rule(match="od", reply="odd")), default="neutral")
    with part.open() as client:
        texts = {text: client.chat([{"role": "user", "content": text}], max_tokens=9).text for text in ("GOOD", "odd good", "odd", "?")}
        assert texts == {"GOOD": "positive", "odd good": "positive", "odd": "odd", "?": "neutral"}
        said = [{"role": "system", "content": "good"}, {"role": "user", "content": "odd"}, {"role": "assistant", "content": "good"}]
        assert client.chat(said, max_tokens=9).text == "odd"
        assert client.chat(said[:1], max_tokens=9).text == "neutral"


def test_a_rule_has_to_be_a_regular_expression():
    with pytest.raises(ValidationError, match="no regular expression"):
        Rule(match="(", reply="")
