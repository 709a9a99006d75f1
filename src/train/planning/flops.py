"""Floating-point operations of training, by one rule, so that utilisations can be compared."""

from src.train.planning.shape import Shape


def forward_flops(shape: Shape, context: float) -> float:
    """Operations of a forward pass per token: 2 for each weight it is multiplied with, and attention.

    Args:
        shape: The model.
        context: Mean length of the rows that tokens stand in (of the row, not of the sequence several are packed into).
    """
    return 2 * shape.matmul_parameters + attention_flops(shape, context)


def attention_flops(shape: Shape, context: float) -> float:
    """Operations of scores and weighted sums per token of a forward pass; a decoder's token sees half of its row on average."""
    seen = context if shape.encoder else context / 2
    return 4 * seen * shape.heads * shape.head_dim * shape.layers


def training_flops(shape: Shape, context: float, *, lora: int | None, reference: bool = False) -> float:
    """Operations of training that count in a utilisation, per token.

    Frozen weights need no gradient of their own: 4 operations each, 2 forward and 2 for the gradient that goes on down. What
    is trained needs 6. Attention has no weights: its backward pass is twice its forward. What is computed a second time to
    save memory does not count.

    Args:
        shape: The model.
        context: Mean length of the rows that tokens stand in.
        lora: Weights of the adapter; None where all weights are trained.
        reference: Whether a forward pass of a frozen reference comes with each token, as in DPO.
    """
    weights = 6 * shape.matmul_parameters if lora is None else 4 * shape.matmul_parameters + 6 * lora
    return weights + 3 * attention_flops(shape, context) + (forward_flops(shape, context) if reference else 0)


def recomputed_flops(shape: Shape, context: float) -> float:
    """Operations per token that gradient checkpointing adds: a second forward pass of the blocks, not of the head."""
    return 2 * shape.linear_parameters + attention_flops(shape, context)
