"""The numbers of a transformer that its memory and its arithmetic are reckoned from."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Linear:
    """A weight matrix of each block."""

    name: str
    """The module's last name, as LoRA targets name it."""
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Entries of the matrix."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Shape:
    """A model of one family: a stack of equal blocks between an embedding and a head."""

    name: str
    family: str
    """`model_type` of its config.json."""
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    positions: int
    """Most tokens in a row; 0 where the config does not say."""
    tied: bool
    """Whether the head is the embedding."""
    linears: tuple[Linear, ...]
    """The matrices of a block."""
    norms: int
    """Norms over the hidden size in a block."""
    norm_bias: bool = False
    qk_norm: bool = False
    """Whether queries and keys are normed, by head."""
    head_bias: bool = False
    encoder: bool = False
    """Whether it is read at once, with learned positions, such as BERT."""
    token_types: int = 0
    labels: int = 0
    """Classes of a classification head in place of the language model's; 0 for a language model."""
    extra: int = 0
    """Parameters of parts that text does not pass, such as a vision tower."""

    def classifier(self, labels: int) -> Self:
        """The same body with a classification head."""
        return replace(self, labels=labels)

    @property
    def linear_parameters(self) -> int:
        """Weights of the blocks' matrices, without biases: what is quantised and what LoRA goes beside."""
        return self.layers * sum(each.weights for each in self.linears)

    @property
    def embedding_parameters(self) -> int:
        """Weights that are looked up: tokens, and an encoder's positions and types."""
        learned = self.positions + self.token_types if self.encoder else 0
        return (self.vocab + learned) * self.hidden

    @property
    def head_parameters(self) -> int:
        """Weights of a head of its own; none where it is the embedding."""
        if self.labels and self.encoder:  # a dense layer before the classes, pooler or not
            return self.hidden * self.hidden + self.hidden + (self.hidden + 1) * self.labels
        if self.labels:
            return self.hidden * self.labels
        return (0 if self.tied else self.vocab * self.hidden) + (self.vocab if self.head_bias else 0)

    @property
    def small_parameters(self) -> int:
        """Norms and biases."""
        norm = self.hidden * (2 if self.norm_bias else 1)
        block = self.norms * norm + (2 * self.head_dim if self.qk_norm else 0)
        return self.layers * (block + sum(each.outputs for each in self.linears if each.bias)) + norm

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.linear_parameters + self.embedding_parameters + self.head_parameters + self.small_parameters + self.extra

    @property
    def matmul_parameters(self) -> int:
        """Weights that each token is multiplied with: the blocks' matrices and the head, not the embedding."""
        head = self.hidden * self.labels if self.labels else self.vocab * self.hidden
        return self.linear_parameters + head

    def adapted(self, targets: str | tuple[str, ...]) -> tuple[Linear, ...]:
        """The matrices of a block that LoRA goes beside."""
        return self.linears if isinstance(targets, str) else tuple(each for each in self.linears if each.name in targets)

    def lora_parameters(self, rank: int, targets: str | tuple[str, ...] = "all-linear") -> int:
        """Weights of an adapter: rank × (inputs + outputs) for each matrix it goes beside."""
        return self.layers * sum(rank * (each.inputs + each.outputs) for each in self.adapted(targets))
