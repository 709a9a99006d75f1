"""The kernel for rows of any lengths gives what sdpa gives: on a GPU with the real one, elsewhere with a plain stand-in for it."""

import pytest


@pytest.fixture
def plain(monkeypatch):
    """Torch's kernel, spelled out row by row."""
    import torch
    from torch.nn.attention import varlen

    def spelled(query, key, value, starts, _, longest, *__, scale, window_size, enable_gqa):
        assert longest >= int(starts.diff().max())
        rows = zip(*(each.split(starts.diff().tolist()) for each in (query, key, value)), strict=True)
        made = []
        for row in rows:
            q, k, v = (each.transpose(0, 1) for each in row)
            places = torch.arange(q.shape[1])
            seen = torch.ones(len(places), len(places), dtype=torch.bool)
            distance = places[:, None] - places
            if window_size[1] == 0:
                seen &= distance >= 0
            if window_size[0] >= 0:
                seen &= distance <= window_size[0]
            done = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=enable_gqa)
            made.append(done.transpose(0, 1))
        return torch.cat(made)

    monkeypatch.setattr(varlen, "varlen_attn", spelled)


def model(kernel, device="cpu", dtype=None, sliding_window=None):
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from src.train.attention import register_varlen

    register_varlen()
    torch.manual_seed(0)
    shape = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    made = MistralForCausalLM(MistralConfig(**shape, intermediate_size=64, sliding_window=sliding_window))
    made.set_attn_implementation(kernel)
    return made.to(device, dtype or torch.float32)


def packed(device="cpu"):
    import torch

    lengths = [5, 9, 1, 7]
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device=device)
    places = torch.cat([torch.arange(length) for length in lengths])[None].to(device)
    ids = torch.randint(64, (1, sum(lengths)), generator=torch.Generator().manual_seed(1)).to(device)
    lengths_of = {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts, "max_length_q": 9, "max_length_k": 9}
    return {"input_ids": ids, "position_ids": places, **lengths_of, "use_cache": False}


def padded(device="cpu"):
    import torch

    ids = torch.randint(64, (3, 8), generator=torch.Generator().manual_seed(1)).to(device)
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] + [0] * 7]).to(device)
    return {"input_ids": ids, "attention_mask": mask, "use_cache": False}


@pytest.mark.parametrize("batch", [packed, padded])
@pytest.mark.parametrize("window", [None, 4])
def test_it_gives_what_sdpa_gives(plain, batch, window):
    import torch

    inputs = batch()
    found = []
    kept = inputs["attention_mask"].bool() if "attention_mask" in inputs else torch.ones_like(inputs["input_ids"]).bool()
    for kernel in ("varlen", "sdpa"):
        made = model(kernel, sliding_window=window)
        found.append(made(**for_kernel(kernel, inputs)).logits[kept])
    assert (found[0] - found[1]).abs().max() < 1e-5


def for_kernel(kernel, inputs):
    """The inputs that a kernel reads: sdpa tells packed rows apart by their positions."""
    return (
        inputs
        if kernel == "varlen"
        else {name: each for name, each in inputs.items() if "seq_lens" not in name and "max_length" not in name}
    )


def test_rows_without_padding_need_no_mask(plain):
    import torch

    ids = torch.randint(64, (2, 6), generator=torch.Generator().manual_seed(1))
    one, other = (model(kernel)(input_ids=ids, use_cache=False).logits for kernel in ("varlen", "sdpa"))
    assert (one - other).abs().max() < 1e-5


def test_what_it_cannot_do_it_says(plain):
    from src.core.errors import MlxError
    from src.train.attention import varlen

    with pytest.raises(MlxError, match="no softcap"):
        varlen(None, *[_rows()] * 3, None, softcap=30.0)
    with pytest.raises(MlxError, match="no dropout"):
        varlen(None, *[_rows()] * 3, None, dropout=0.1)
    with pytest.raises(MlxError, match="has no cache"):
        varlen(None, _rows()[:, :, :1], _rows(), _rows(), None)


def _rows():
    import torch

    return torch.zeros(1, 2, 4, 8)


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [packed, padded])
def test_the_real_kernel_gives_what_sdpa_gives(batch):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    inputs = batch("cuda")
    grads, logits = [], []
    kept = inputs["attention_mask"].bool() if "attention_mask" in inputs else torch.ones_like(inputs["input_ids"]).bool()
    for kernel in ("varlen", "sdpa"):
        made = model(kernel, "cuda", torch.bfloat16)
        out = made(**for_kernel(kernel, inputs)).logits[kept]
        out.float().square().mean().backward()
        logits.append(out.float())
        grads.append(made.model.layers[0].self_attn.q_proj.weight.grad.float())
    assert (logits[0] - logits[1]).abs().max() < 0.05
    assert (grads[0] - grads[1]).norm() < 0.05 * grads[1].norm()
