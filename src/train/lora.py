"""What a LoRA adapter is made of."""

from typing import Annotated, Literal

from pydantic import Field

from src.core.config import Config

Module = Literal[
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj",  # decoders
    "query", "key", "value", "dense", "Wqkv", "Wo", "Wi",  # BERT, ModernBERT
]  # fmt: skip


class Lora(Config):
    """Low-rank matrices beside the frozen weights: what is trained."""

    r: int = Field(default=16, ge=1)
    """Rank; vLLM serves up to 512."""
    alpha: float = Field(default=32, gt=0)
    """Scale: the adapter counts alpha / r times."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of the adapter's inputs that are zeroed in training."""
    targets: Literal["all-linear"] | Annotated[tuple[Module, ...], Field(min_length=1)] = "all-linear"
    """Which linear layers get an adapter: all but the output head, or a list of them."""
    rslora: bool = False
    """Rank-stabilised: the adapter counts alpha / √r times, so that a high rank still learns."""
    dora: bool = False
    """Weight-decomposed: lengths and directions of the weights are learned apart; slower, and not served by vLLM."""
    modules_to_save: tuple[str, ...] = ()
    """Modules that are trained and saved whole beside the adapter, such as `embed_tokens` or `lm_head`."""
