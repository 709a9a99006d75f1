"""A Modelfile's Go template says what the model's own template says, or is left out."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from src.models.load import load_tokenizer
from src.train.export.modelfile import Frame, frame, modelfile

TEMPLATES = {
    "llama3": (
        "{{- bos_token }}{%- for m in messages %}{{- '<|start|>' + m.role + '<|stop|>\n\n' + m.content + '<|im_end|>' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|start|>assistant<|stop|>\n\n' }}{%- endif %}"
    ),
    "trimmed": (
        "{%- for m in messages %}{{- '<' + m.role + '>' + m.content | trim + '<|im_end|>' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}"
    ),
    "system inside": (
        "{%- for m in messages %}{%- if m.role == 'user' %}{{- '[I]' + (messages[0].content if loop.last and messages[0].role == 'system' "
        "else '') + m.content + '[/I]' }}{%- elif m.role == 'assistant' %}{{- m.content + '<|im_end|>' }}{%- endif %}{%- endfor %}"
    ),
}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One\n\n{{two}}"},
    {"role": "assistant", "content": "Three"},
    {"role": "user", "content": "Four?"},
]


@pytest.fixture
def tokenizer(tiny):
    return load_tokenizer(tiny)


def test_chatml_is_a_frame(tokenizer):
    found = frame(tokenizer, [TALK])
    assert found == Frame(*((f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant")))


def test_the_token_a_text_begins_with_is_left_to_the_program(tokenizer):
    tokenizer.chat_template = TEMPLATES["llama3"]
    found = frame(tokenizer, [TALK])
    assert found.user == ("<|start|>user<|stop|>\n\n", "<|im_end|>") and not found.render(TALK).startswith(tokenizer.bos_token)


@pytest.mark.parametrize("template", ["trimmed", "system inside"])
def test_a_template_that_does_more_has_none(tokenizer, template):
    tokenizer.chat_template = TEMPLATES[template]
    assert frame(tokenizer, [TALK]) is None
    text = modelfile("m.gguf", None, system=None, stops=["<|im_end|>"], parameters={"num_ctx": 512})
    assert (
        "\nTEMPLATE" not in text
        and "llama-server --jinja" in text
        and text.endswith('PARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 512\n')
    )


GO = """package main
import ("encoding/json"; "os"; "text/template")
type Message struct { Role, Content string }
func main() {
    var in struct { Template string; Messages []Message }
    json.NewDecoder(os.Stdin).Decode(&in)
    template.Must(template.New("t").Parse(in.Template)).Execute(os.Stdout, in)
}
"""


@pytest.mark.skipif(not shutil.which("go"), reason="needs go, whose templates Ollama renders")
@pytest.mark.slow
@pytest.mark.parametrize("template", ["chatml", "llama3"])
def test_go_renders_what_the_chat_template_does(tokenizer, template):
    tokenizer.chat_template = TEMPLATES.get(template, tokenizer.chat_template)
    found = frame(tokenizer, [TALK])
    Path("main.go").write_text(GO)
    environment = {**os.environ, "GOCACHE": str(Path("cache").absolute()), "GO111MODULE": "off", "GOFLAGS": ""}
    for messages in (TALK, TALK[1:], TALK[:2]):
        asked = json.dumps({"Template": found.go(), "Messages": messages})
        done = subprocess.run(["go", "run", "main.go"], input=asked, capture_output=True, text=True, env=environment, check=True)
        assert done.stdout == tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True).removeprefix(
            tokenizer.bos_token
        )
