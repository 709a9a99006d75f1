"""Runs all-MiniLM-L6-v2 with NumPy alone: its 22 million weights need no torch, with ten seconds and a GB of its own."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
LONGEST = 256  # tokens that are read, as its authors do
NEAR = 64  # rows of a product that stay in the processor's cache from one step to the next
TOGETHER = 8  # texts computed at once: their tokens lie side by side, none is padded


class Bert:
    """An encoder as BERT (Devlin et al. 2019); a text is the mean of its tokens (Reimers and Gurevych 2019), as a unit vector.

    Args:
        folder: With `config.json`, `tokenizer.json` and `model.safetensors`.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open
        from tokenizers import Tokenizer

        config = json.loads((folder / "config.json").read_text())
        self.dimension: int = config["hidden_size"]
        self.heads: int = config["num_attention_heads"]
        self.epsilon: float = config["layer_norm_eps"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LONGEST)
        with safe_open(folder / "model.safetensors", framework="numpy") as kept:
            self.weights: dict[str, Array] = {name: kept.get_tensor(name) for name in kept.keys() if "pooler" not in name}  # noqa: SIM118
        self.layers = [f"encoder.layer.{number}" for number in range(config["num_hidden_layers"])]
        for layer in self.layers:  # one product for all three
            for kind in ("weight", "bias"):
                parts = [self.weights.pop(f"{layer}.attention.self.{name}.{kind}") for name in ("query", "key", "value")]
                self.weights[f"{layer}.attention.self.{kind}"] = np.concatenate(parts)

    def embed(self, texts: Sequence[str]) -> Array:
        """Unit vectors, shape (texts, dimension); of a long text the first 256 tokens count."""
        parts = [self._vectors(texts[start : start + TOGETHER]) for start in range(0, len(texts), TOGETHER)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), np.float32)

    def _vectors(self, texts: Sequence[str]) -> Array:
        rows = [self.tokenizer.encode(text.encode("utf-8", "replace").decode()).ids for text in texts]
        ends = np.cumsum([len(row) for row in rows])[:-1]
        places = np.concatenate([np.arange(len(row)) for row in rows])
        named = self.weights
        hidden = named["embeddings.word_embeddings.weight"][np.concatenate(rows)] + named["embeddings.position_embeddings.weight"][places]
        hidden = self._normed(hidden + named["embeddings.token_type_embeddings.weight"][0], "embeddings")
        for layer in self.layers:
            asked = np.split(self._product(hidden, f"{layer}.attention.self"), ends)
            seen = np.concatenate([self._attended(each) for each in asked])
            hidden = self._normed(hidden + self._product(seen, f"{layer}.attention.output.dense"), f"{layer}.attention.output")
            wide = self._product(hidden, f"{layer}.intermediate.dense")
            for start in range(0, len(wide), NEAR):
                wide[start : start + NEAR] = _gelu(wide[start : start + NEAR])
            hidden = self._normed(hidden + self._product(wide, f"{layer}.output.dense"), f"{layer}.output")
        means = np.stack([each.mean(axis=0) for each in np.split(hidden, ends)])
        units: Array = means / np.linalg.norm(means, axis=1, keepdims=True)
        return units

    def _product(self, values: Array, name: str) -> Array:
        made: Array = values @ self.weights[f"{name}.weight"].T
        made += self.weights[f"{name}.bias"]
        return made

    def _normed(self, values: Array, name: str) -> Array:
        values = values - values.mean(axis=1, keepdims=True)
        values /= np.sqrt((values * values).mean(axis=1, keepdims=True) + self.epsilon)
        return values * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]

    def _attended(self, asked: Array) -> Array:
        """Of one text what its tokens take from each other, shape (tokens, dimension)."""
        query, key, value = asked.reshape(len(asked), 3, self.heads, -1).transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) * np.float32((self.dimension // self.heads) ** -0.5)
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        seen: Array = (shares @ value).transpose(1, 0, 2).reshape(len(asked), -1)
        return seen


def _gelu(values: Array) -> Array:
    """The exact one, x Φ(x), to 2e-7: the error function after Abramowitz and Stegun 7.1.26."""
    size = np.abs(values) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail: Array = 0.5 * series * np.exp(-size * size)  # what Φ(-|x|) is
    return np.where(values > 0, values * (1 - tail), values * tail)
