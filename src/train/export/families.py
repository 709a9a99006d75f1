"""Model families that llama.cpp computes as transformers does, how GGUF names their parts, and what has to be refused."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, get_tensor_name_map

from src.core.errors import MlxError

OTHERWISE = "serve the merged model with vLLM, or convert it with llama.cpp's convert_hf_to_gguf.py"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Family:
    """One architecture."""

    arch: MODEL_ARCH
    turned: bool
    """Whether llama.cpp rotates neighbouring coordinates, so that rows of queries and keys change places."""


FAMILIES = {
    "llama": Family(MODEL_ARCH.LLAMA, turned=True),
    "mistral": Family(MODEL_ARCH.LLAMA, turned=True),
    "qwen2": Family(MODEL_ARCH.QWEN2, turned=False),
    "qwen3": Family(MODEL_ARCH.QWEN3, turned=False),
}


class Shape:
    """A model's config, read for GGUF.

    Raises:
        MlxError: Where llama.cpp would compute something else.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        kind = str(config.get("model_type"))
        if kind not in FAMILIES:
            raise MlxError(f"a {kind} model cannot be written as GGUF here: known are {', '.join(FAMILIES)}", OTHERWISE)
        self.family = FAMILIES[kind]
        self.name = MODEL_ARCH_NAMES[self.family.arch]
        self.layers: int = config["num_hidden_layers"]
        self.heads: int = config["num_attention_heads"]
        self.kv_heads: int = config.get("num_key_value_heads") or self.heads
        self.head_size: int = config.get("head_dim") or config["hidden_size"] // self.heads
        self.rope: Mapping[str, Any] = config.get("rope_parameters") or {}
        self._names = get_tensor_name_map(self.family.arch, self.layers)
        for problem in self._problems():
            raise MlxError(f"this {kind} model cannot be written as GGUF: {problem}", OTHERWISE)

    @property
    def context(self) -> int:
        """Tokens for which llama.cpp computes the same: it knows no window of attention in these families."""
        window = self.config.get("sliding_window") if self.config["model_type"] == "mistral" else None
        most: int = self.config["max_position_embeddings"]
        return min(most, window or most)

    def tensor_name(self, name: str) -> str:
        """GGUF's name of a weight."""
        found = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise MlxError(f"GGUF has no place for the weight {name} in {self.name}", OTHERWISE)
        return str(found)

    def turn(self, name: str, weight: Array) -> Array:
        """Put the rows of a query or key matrix in llama.cpp's order; others stay as they are."""
        heads = self._turning(name)
        if not heads:
            return weight
        return weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)

    def turn_back(self, name: str, weight: Array) -> Array:
        """Undo `turn`."""
        heads = self._turning(name)
        if not heads:
            return weight
        return weight.reshape(heads, len(weight) // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)

    def describe(self, writer: GGUFWriter) -> None:
        """Write what llama.cpp has to know of the architecture."""
        config = self.config
        writer.add_context_length(self.context)
        writer.add_embedding_length(config["hidden_size"])
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_key_length(self.head_size)
        writer.add_value_length(self.head_size)
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_dimension_count(self.head_size)
        writer.add_rope_freq_base(self.rope.get("rope_theta", 10_000.0))
        writer.add_vocab_size(config["vocab_size"])
        if self.rope.get("rope_type") == "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(self.rope["factor"])

    def factors(self) -> Array | None:
        """How much each frequency of the rotary embedding is slowed down, for Llama 3.1 and later; None where none is."""
        if self.rope.get("rope_type") != "llama3":
            return None
        rope = self.rope
        factor, low, high, old = (
            rope[key] for key in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        )
        lengths = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, self.head_size, 2, dtype=np.float32) / self.head_size)
        smooth = np.clip((old / lengths - low) / (high - low), 0, 1)
        return np.asarray(1 / ((1 - smooth) / factor + smooth), np.float32)

    def _turning(self, name: str) -> int:
        if not self.family.turned:
            return 0
        return self.heads if ".q_proj." in name else self.kv_heads if ".k_proj." in name else 0

    def _problems(self) -> Iterator[str]:
        config = self.config
        if config.get("hidden_act", "silu") != "silu":
            yield f"its activation is {config['hidden_act']}, llama.cpp takes silu"
        kind = self.rope.get("rope_type", "default")
        if kind not in ("default", "linear", "llama3"):
            yield f"its rotary embedding is stretched by {kind}"
        if self.rope.get("partial_rotary_factor", 1) != 1:
            yield "only a part of each head is rotated"
        windowed = "sliding_attention" in (config.get("layer_types") or ()) and config["model_type"] != "mistral"
        if windowed or config.get("use_sliding_window"):
            yield "some layers attend to a window only"
        if config.get("mlp_bias"):
            yield "its feed-forward layers have biases"
