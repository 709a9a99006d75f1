"""A conversation is counted as transformers would encode it, without transformers."""

import json

import pytest

from src.core.errors import MlxError
from src.models.template import prompt_ids
from src.serve.routing.tokens import Tokens

CALL = {"id": "abc123def", "type": "function", "function": {"name": "set_lamp", "arguments": '{"state": "on"}'}}
LAMP = {"type": "object", "properties": {"state": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "set_lamp", "description": "Light it.", "parameters": LAMP}}
TALK = [
    {"role": "system", "content": "You keep the light – kindly."},
    {"role": "user", "content": [{"type": "text", "text": "Lamp on, "}, {"type": "text", "text": "please"}]},
    {"role": "assistant", "content": "Aye 🌊"},
    {"role": "user", "content": "And the other?"},
]
CALLS = [
    *TALK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "abc123def", "content": "done"},
]


def plain(messages):
    """As chat templates take them."""
    made = []
    for each in messages:
        content = each["content"]
        text = "\n".join(part["text"] for part in content) if isinstance(content, list) else content or ""
        calls = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in each.get("tool_calls", ())
        ]
        made.append({**each, "content": text, **({"tool_calls": calls} if calls else {})})
    return made


@pytest.mark.parametrize("family", ["llama3", "llama3_1", "mistral_v03", "qwen2_5", "qwen3", "gemma3", "chatml"])
def test_every_family_is_counted_as_it_is_encoded(family, tokenizer_of, tmp_path):
    tokenizer = tokenizer_of(family)
    tokenizer.save_pretrained(tmp_path)
    tokens = Tokens(tmp_path)
    assert tokens.chat({"messages": TALK}) == len(prompt_ids(tokenizer, plain(TALK)))
    if family in ("llama3_1", "mistral_v03", "qwen2_5", "qwen3"):
        body = {"messages": CALLS, "tools": [TOOL]}
        assert tokens.chat(body) == len(prompt_ids(tokenizer, plain(CALLS), [TOOL]))
        assert tokens.chat({**body, "messages": TALK, "tool_choice": "none"}) == tokens.chat({"messages": TALK})
    assert tokens.plain("Turn the light on.") == len(tokenizer("Turn the light on.")["input_ids"])


def test_what_cannot_be_rendered_is_told(tokenizer_of, tmp_path):
    tokenizer_of("gemma3").save_pretrained(tmp_path)
    tokens = Tokens(tmp_path)
    with pytest.raises(ValueError, match="refuses these messages"):
        tokens.chat({"messages": [{"role": "assistant", "content": "I go first"}, {"role": "assistant", "content": "And again"}]})
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": None}))
    with pytest.raises(ValueError, match="no chat template"):
        Tokens(tmp_path).chat({"messages": TALK})


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(MlxError, match="no tokenizer at"):
        Tokens(tmp_path)
