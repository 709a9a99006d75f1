"""The console line fits, its columns stand below each other, and the MFU is counted as others count it."""

import pytest

from src.train.speed import Clock, Span, duration, line, utilisation

VALUES = {"loss": 12.3456, "learning_rate": 2e-4}
PREFIX = len("mlx.train: ")


def test_the_widest_line_fits_and_columns_are_aligned():
    wide = line(99999, 99999, VALUES, Span(1e9, 2e9, 0, 1000), eta=99 * 3600, mfu=0.406, cost=999.99)
    assert len(wide) + PREFIX <= 120, wide
    one = line(5, 500, VALUES, Span(1234, 45_678, 0.5, 0.5), eta=61, mfu=None, cost=None)
    other = line(500, 500, VALUES | {"loss": 0.5}, Span(123_456, 1_234_567, 0, 1), eta=3661, mfu=0.4, cost=None)
    assert len(one) == len(other)
    assert one.startswith("  5/500  loss 12.346  lr 2.0e-04   1,234 of 45,678 tok/s  MFU   –  wait 50%  ")
    assert one.endswith("ETA    1:01")
    assert "  123k of   1.2M tok/s  MFU 40%  wait  0%  " in other
    assert other.endswith("ETA 1:01:01")


def test_waiting_is_what_passes_before_a_step(monkeypatch):
    from src.train import speed

    times = iter([10.0, 11.0, 14.0, 20.0, 20.5, 22.0])
    monkeypatch.setattr(speed, "perf_counter", lambda: next(times))
    clock = Clock(next(times))
    clock.begin()
    assert clock.end(1, 2) == Span(1, 2, waited=1.0, computed=3.0)
    clock.idle()  # what was measured and saved in between counts as neither
    clock.begin()
    assert clock.end(0, 0) == Span(0, 0, waited=0.5, computed=1.5)
    assert duration(59.6) == "1:00"


@pytest.mark.parametrize("task", ["sft", "dpo"])
def test_mfu_of_lora_on_a_known_gpu(monkeypatch, task):
    import datasets
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.train import TrainConfig

    shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=2))
    rows = datasets.Dataset.from_dict({"input_ids": [[1] * 40], "seq_lengths": [[30, 10]]})
    config = TrainConfig(model="m", task=task)
    assert utilisation(config, model, rows) is None  # a CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(LlamaForCausalLM, "device", torch.device("cuda"))
    for weight in model.parameters():
        weight.requires_grad = False
    model.model.norm.weight.requires_grad = True  # 32 weights learn
    linears = 2 * (4 * 32 * 32 + 3 * 32 * 48) + 64 * 32
    context = (30**2 + 10**2) / 40
    attention = 4 * context / 2 * 32 * 2
    reference = 2 * linears + attention if task == "dpo" else 0
    assert utilisation(config, model, rows) == pytest.approx((4 * linears + 6 * 32 + 3 * attention + reference) / 989e12)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some Accelerator")
    assert utilisation(config, model, rows) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(LlamaConfig, "model_type", "unheard_of")
    assert utilisation(config, model, rows) is None
