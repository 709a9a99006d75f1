"""Which kernel computes attention: where rows are packed, one that never looks across them."""

from importlib.util import find_spec
from typing import Any

from src.core.errors import MlxError

FLASH, VARLEN, SDPA = "flash_attention_2", "varlen", "sdpa"


def pick_attention(asked: str, *, device: str, dtype: str) -> str:
    """Turn `auto` into the fastest kernel that is there, or say that the one asked for is not.

    Raises:
        MlxError: Where it needs a GPU, bf16 or a package that is not there.
    """
    fit = device != "cpu" and dtype == "bf16"
    if asked == "auto":
        if not fit:
            return SDPA
        return FLASH if find_spec("flash_attn") else VARLEN if _has_varlen() else SDPA
    if asked == SDPA:
        return SDPA
    if not fit:
        raise MlxError(f"train.attention {asked} needs a CUDA device and bf16; here: {device}, {dtype}", "set train.attention to auto")
    if asked == FLASH and not find_spec("flash_attn"):
        raise MlxError("train.attention flash_attention_2 needs the package flash-attn", "install it, or set train.attention to varlen")
    if asked == VARLEN and not _has_varlen():
        raise MlxError("train.attention varlen needs torch 2.10 or newer", "set train.attention to sdpa")
    return asked


def register_varlen() -> None:
    """Make `attn_implementation="varlen"` known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    AttentionInterface.register(VARLEN, varlen)
    # as for flash attention: the mask is what is padding, and packed rows are told apart by their lengths
    AttentionMaskInterface.register(VARLEN, flash_attention_mask)


def varlen(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Any = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Any, None]:
    """Attention over rows of any lengths with `torch.nn.attention.varlen`.

    Args:
        module: The attention layer.
        query: (batch, heads, tokens, head size), as `key` and `value` with as many heads as they have.
        key: See `query`.
        value: See `query`.
        attention_mask: (batch, tokens), true where a token is no padding; None where all are.
        scaling: What scores are multiplied with; one over the root of the head size unless given.
        cu_seq_lens_q: Where each row of a packed sequence begins, and where the last ends; None where nothing is packed.
        max_length_q: Length of the longest row.
        sliding_window: How many tokens one sees, itself included.
        is_causal: Whether a token sees those after it; the layer's own way unless given.
        softcap: Not supported.
        dropout: Not supported.

    Returns:
        (batch, tokens, heads, head size), and no weights.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    if softcap or dropout:
        raise MlxError(f"varlen attention has no {'softcap' if softcap else 'dropout'}", "set train.attention to sdpa")
    batch, _heads, tokens, _size = query.shape
    if key.shape[2] != tokens:
        raise MlxError("varlen attention is for training: it has no cache", "set use_cache to false")
    flat = [each.transpose(1, 2).reshape(batch * tokens, each.shape[1], each.shape[3]) for each in (query, key, value)]
    if query.dtype == torch.float32 and torch.is_autocast_enabled(query.device.type):  # weights in fp32, computed in bf16
        flat = [each.to(torch.get_autocast_dtype(query.device.type)) for each in flat]
    kept = None
    if cu_seq_lens_q is not None and batch == 1:
        starts, longest = cu_seq_lens_q, int(max_length_q or tokens)
    elif attention_mask is not None:
        lengths = attention_mask.sum(1, dtype=torch.int32)
        starts, longest = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0)), tokens
        kept = attention_mask.reshape(-1).nonzero().squeeze(1)
        flat = [each[kept] for each in flat]
    else:
        starts, longest = torch.arange(0, (batch + 1) * tokens, tokens, device=query.device, dtype=torch.int32), tokens
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    window = (sliding_window - 1 if sliding_window else -1, 0 if causal else -1)
    found = varlen_attn(
        *flat, starts.int(), starts.int(), longest, longest, scale=scaling, window_size=window, enable_gqa=key.shape[1] != query.shape[1]
    )
    if kept is not None:
        found = found.new_zeros(batch * tokens, *found.shape[1:]).index_copy(0, kept, found)
    return found.reshape(batch, tokens, *found.shape[1:]), None


def _has_varlen() -> bool:
    return find_spec("torch.nn.attention.varlen") is not None
