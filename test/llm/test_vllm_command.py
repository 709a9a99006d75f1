"""What vLLM is told of an adapter, and of a whole model."""

import json
from pathlib import Path

from src.llm.vllm import command

COMMON = {"name": "tuned", "port": 1, "dtype": "float32", "tool_parser": None, "max_new_tokens": 8}


def test_an_adapter_is_served_on_its_base():
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text(json.dumps({"r": 12}))
    found = command("vllm", base="base", adapter=Path("adapter"), tokenizer=Path("adapter"), **COMMON)
    assert found[:3] == ["vllm", "serve", "base"]
    assert found[found.index("--lora-modules") + 1] == "tuned=adapter"
    assert found[found.index("--max-lora-rank") + 1] == "16"
    assert found[found.index("--tokenizer") + 1] == "adapter"


def test_a_whole_model_is_served_alone_under_the_same_name():
    found = command("vllm", base="c/train/model", adapter=None, tokenizer=Path("c/train/model"), **COMMON)
    assert found[:3] == ["vllm", "serve", "c/train/model"]
    assert found[found.index("--served-model-name") + 1] == "tuned"
    assert "--enable-lora" not in found
