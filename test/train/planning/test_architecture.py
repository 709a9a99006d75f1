"""Parameters to the last one, against models that transformers and PEFT build without weights."""

import json
from dataclasses import replace

import pytest

from src.core.errors import MlxError
from src.train.planning.architecture import catalogue, read_shape, shape_of

FAMILIES = [
    "llama-3.1-8b",
    "llama-3.2-1b",
    "mistral-7b-v0.3",
    "qwen2.5-7b",
    "qwen3-4b",
    "gemma-2-9b",
    "gemma-3-1b",
    "phi-3-mini-4k",
    "phi-2",
]
ENCODERS = ["finbert", "bert-large-uncased", "roberta-base", "distilbert-base-uncased"]


def built(name, **changes):
    """The model `name` as transformers builds it, on the meta device."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSequenceClassification

    values = {**shape_config(name), **changes}
    config = CONFIG_MAPPING[values.pop("model_type")](**{key: value for key, value in values.items() if key != "extra_parameters"})
    kind = AutoModelForSequenceClassification if name in ENCODERS else AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    model.tie_weights()
    return model


def shape_config(name):
    from src.train.planning.architecture import _bare

    return catalogue()[_bare(name)]


@pytest.mark.parametrize("name", FAMILIES + ENCODERS)
def test_every_parameter_is_counted(name):
    assert shape_of(name).parameters == sum(weight.numel() for weight in built(name).parameters())


@pytest.mark.parametrize("name", ["llama-3.2-1b", "qwen2.5-7b", "gemma-3-1b", "phi-3-mini-4k", "mistral-7b-v0.3"])
@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "down_proj", "qkv_proj")])
def test_every_weight_of_an_adapter_is_counted(name, targets):
    from peft import LoraConfig, get_peft_model

    shape = replace(shape_of(name), layers=2)
    names = targets if isinstance(targets, str) else [each for each in targets if any(each == one.name for one in shape.linears)]
    model = get_peft_model(built(name, num_hidden_layers=2), LoraConfig(r=8, target_modules=names, task_type="CAUSAL_LM"))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert shape.lora_parameters(8, targets) == trained


def test_the_figures_of_the_papers():
    llama = shape_of("meta-llama/Llama-3.1-8B-Instruct")
    assert (llama.parameters, llama.linear_parameters) == (8_030_261_248, 6_979_321_856)
    assert llama.lora_parameters(16) == 41_943_040
    assert shape_of("google/gemma-3-4b-it").parameters == 4_300_079_472  # with its vision tower
    assert shape_of("ProsusAI/finbert").labels == 3


@pytest.mark.parametrize(
    "name", ["unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Llama-3.1-8B", "NousResearch/Meta-Llama-3.1-8B-Instruct"]
)
def test_a_model_goes_by_many_names(name):
    assert shape_of(name).parameters == 8_030_261_248


def test_a_tower_that_sees_is_counted_from_its_config():
    text = shape_config("google/gemma-3-12b-it")
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "image_size": 896, "patch_size": 14}
    found = read_shape("x", {"model_type": "gemma3", "text_config": dict(text), "vision_config": vision})
    assert found == read_shape("x", text)


def test_the_head_of_classes_takes_the_place_of_the_language_models():
    llama = shape_of("llama-3.1-8b").classifier(3)
    assert llama.parameters == 8_030_261_248 - 128256 * 4096 + 3 * 4096


def test_a_folder_and_the_hubs_cache_come_before_a_known_name(tmp_path, monkeypatch):
    snapshot = tmp_path / "hub" / "models--meta-llama--Llama-3.1-8B" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({**shape_config("llama-3.1-8b"), "num_hidden_layers": 3}))
    assert shape_of(snapshot.as_posix()).layers == 3
    assert shape_of("meta-llama/Llama-3.1-8B").layers == 32
    monkeypatch.setenv("HF_HUB_CACHE", (tmp_path / "hub").as_posix())
    assert shape_of("meta-llama/Llama-3.1-8B").layers == 3


def test_what_cannot_be_planned_says_what_to_do(tmp_path):
    with pytest.raises(MlxError, match=r"shape of 'acme/llama-3.1-9b' is not known.*did you mean 'llama-3.1-8b'") as unknown:
        shape_of("acme/llama-3.1-9b")
    assert "hf download acme/llama-3.1-9b config.json" in unknown.value.hint
    with pytest.raises(MlxError, match="is no model"):
        shape_of(tmp_path.as_posix())
    with pytest.raises(MlxError, match="type 'mamba' cannot be planned") as family:
        read_shape("m", {"model_type": "mamba"})
    assert "llama" in family.value.hint
    with pytest.raises(MlxError, match="has no num_attention_heads"):
        read_shape("m", {"model_type": "llama"})
