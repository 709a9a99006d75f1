"""The likelihood of a batch is that of each row alone, computed by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from src.models.likelihood import negative_log_likelihoods


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def test_it_equals_direct_computation_row_by_row(model):
    rows = [
        SimpleNamespace(ids=[1, 2, 3, 4, 5, 6], mask=[0, 0, 1, 1, 0, 1]),
        SimpleNamespace(ids=[7, 8, 9], mask=[1, 1, 1]),  # its first token has nothing before it
        SimpleNamespace(ids=[10], mask=[1]),
        SimpleNamespace(ids=[11, 12], mask=[0, 0]),
    ]
    found = negative_log_likelihoods(model, rows)
    assert [tokens for _, tokens in found] == [3, 2, 0, 0]
    for row, (nats, _) in zip(rows, found, strict=True):
        with torch.no_grad():
            chances = model(torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        expected = -sum(float(chances[at - 1, row.ids[at]]) for at in range(1, len(row.ids)) if row.mask[at])
        assert nats == pytest.approx(expected, abs=1e-4)


def test_it_equals_the_loss_the_model_reports(model):
    ids = list(range(1, 30))
    [(nats, tokens)] = negative_log_likelihoods(model, [SimpleNamespace(ids=ids, mask=[1] * len(ids))])
    with torch.no_grad():
        loss = float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    assert math.exp(nats / tokens) == pytest.approx(math.exp(loss), rel=1e-4)
