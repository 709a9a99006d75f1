"""What vLLM is told of an adapter, and of a whole model."""

import json
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.llm.vllm import command, lora_words

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


def config(name, **told):
    Path(name).mkdir()
    (Path(name) / "adapter_config.json").write_text(json.dumps(told))
    return Path(name)


def test_several_adapters_have_room_for_the_largest_and_for_one_batch_of_all():
    two = {"a": config("one", r=4), "b": config("two", r=20)}
    assert lora_words(two) == ["--enable-lora", "--lora-modules", "a=one", "b=two", "--max-lora-rank", "32", "--max-loras", "2"]
    assert lora_words(two, rank=64, batch=5)[-4:] == ["--max-lora-rank", "64", "--max-loras", "5"]
    with pytest.raises(MlxError, match="two has rank 20, and vLLM is started with room for 16"):
        lora_words(two, rank=16)
    assert lora_words({}) == ["--enable-lora", "--max-lora-rank", "16"]


def test_weights_are_packed_and_split_as_told_and_further_arguments_win():
    found = command(
        "vllm",
        base="b",
        adapter=None,
        tokenizer=Path("t"),
        quantization="fp8",
        tensor_parallel=2,
        data_parallel=3,
        loras=lora_words({}),
        extra=("--seed", "1"),
        **COMMON,
    )
    assert found[-8:] == ["--quantization", "fp8", "--tensor-parallel-size", "2", "--data-parallel-size", "3", "--seed", "1"]
    assert "--enable-lora" in found and found[found.index("--served-model-name") + 1] == "tuned"
