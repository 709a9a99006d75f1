"""Which base is trained where, and who is told early that it cannot be."""

import json
from pathlib import Path

import pytest

from src.core.errors import MlxError


@pytest.fixture
def find(project, monkeypatch):
    """A function that finds the base of a config, on a machine without CUDA."""
    import torch

    from src.train.base import find_base

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return lambda *overrides: find_base(project(*overrides).section("train"), None)


def test_a_small_folder_trains_on_the_cpu(find):
    base = find()
    assert (base.path, base.kind, base.device, base.dtype, base.on_cpu) == ("tiny", "folder", "cpu", "fp32", True)
    assert find("train.precision=bf16").dtype == "bf16"
    assert find("train.precision=fp32").dtype == "fp32"


def test_a_hub_model_without_a_gpu_is_told_before_any_download(find):
    with pytest.raises(MlxError) as error:
        find("train.model=meta-llama/Llama-3.1-8B-Instruct")
    assert str(error.value) == "train.model 'meta-llama/Llama-3.1-8B-Instruct' needs a CUDA device: none here"
    assert "mlx run config/quickstart.yaml" in error.value.hint
    assert find("train.model=meta-llama/Llama-3.1-8B-Instruct", "train.device=cpu").kind == "hub"


def test_a_large_folder_without_a_gpu_is_told_its_size(find):
    shape = json.loads(Path("tiny/config.json").read_text())
    shape |= {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    }
    shape |= {"head_dim": 128, "tie_word_embeddings": False}
    Path("large").mkdir()
    Path("large/config.json").write_text(json.dumps(shape))
    with pytest.raises(MlxError, match=r"train.model './large' \(8\.0 B parameters\) needs a CUDA device"):
        find("train.model=./large")


def test_a_gpu_that_is_asked_for_has_to_be_there(find):
    with pytest.raises(MlxError, match="no CUDA device"):
        find("train.device=cuda")


def test_bf16_on_a_gpu_that_has_none(find, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert find().dtype == "fp32"
    with pytest.raises(MlxError, match="this GPU cannot compute in it"):
        find("train.precision=bf16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (find().dtype, find().device) == ("bf16", "cuda:1")
