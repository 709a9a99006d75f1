"""How large a model is, told from its config alone."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from src.models.hub import explained, located

TINY = 1_000_000_000
"""Parameters below which a model is run, and trained, on a CPU without being asked."""


def parameters(config: Any) -> int:
    """Count the parameters of a language model with this config, without allocating them."""
    kind = AutoModelForCausalLM if type(config) in AutoModelForCausalLM._model_mapping else AutoModel  # encoders have no other
    with torch.device("meta"):
        model = kind.from_config(config)
    model.tie_weights()
    return sum(weight.numel() for weight in model.parameters())


def known_parameters(base: str | Path) -> int | None:
    """Count the parameters of a model whose config is at hand (a folder, or the hub's cache); None where it is not. Asks no network."""
    try:
        return parameters(AutoConfig.from_pretrained(located(base), local_files_only=True))
    except (OSError, ValueError):
        return None


def context(base: str | Path) -> int | None:
    """The most tokens a model has positions for; None where its config does not say."""
    name = located(base)
    with explained(name):
        config = AutoConfig.from_pretrained(name).get_text_config()
    return getattr(config, "max_position_embeddings", None)
