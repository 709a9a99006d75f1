"""Settings of `task: dpo`."""

from typing import Literal

from pydantic import Field

from src.core.config import Config


class Preference(Config):
    """Learning from pairs of a better and a worse answer (DPO, Rafailov et al. 2023)."""

    beta: float = Field(default=0.1, gt=0)
    """How much the model is held to the reference: a small value lets it go further."""
    loss: Literal["sigmoid", "ipo", "hinge", "robust", "exo_pair", "sppo_hard", "apo_zero", "apo_down"] = "sigmoid"
    """How a pair counts; `sigmoid` is DPO's own."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs that are thought to be labelled the wrong way round (`robust`, `exo_pair`)."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the likelihood of the better answer, added to the loss; keeps the model from unlearning it."""
    reference: Literal["adapter_off", "precomputed"] = "adapter_off"
    """When the reference is asked: at each step, the model with its adapter off (with `start`, a frozen copy of it), or once before all."""
