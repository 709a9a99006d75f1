"""Put an adapter on a loaded base: a new one, or the one of an earlier training."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import LoraConfig, PeftModel

from src.core.errors import MlxError
from src.train.base import Base
from src.train.lora import Lora


def new_adapter(lora: Lora, model: Any, task_type: str = "CAUSAL_LM") -> LoraConfig:
    """Return what PEFT has to make.

    Raises:
        MlxError: Where the model has no module of a name that is asked for.
    """
    there = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    if missing := [] if isinstance(lora.targets, str) else [str(each) for each in lora.targets if each not in there]:
        raise MlxError(f"{type(model).__name__} has no {', '.join(missing)}", "set train.lora.targets to all-linear")
    if missing := [each for each in lora.modules_to_save if each not in there]:
        raise MlxError(f"{type(model).__name__} has no {', '.join(missing)}", "mend train.lora.modules_to_save")
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        modules_to_save=list(lora.modules_to_save) or None,
        # where input and output embeddings are one matrix, they stay one
        ensure_weight_tying=bool(lora.modules_to_save) and bool(getattr(model.config, "tie_word_embeddings", False)),
        task_type=task_type,
    )


def adapted(model: Any, lora: Lora | None, base: Base) -> tuple[Any, LoraConfig | None]:
    """Return the model for the trainer and what it has to put on it, which is nothing for an earlier adapter or for all weights."""
    if lora is None:
        return model.float(), None  # optimizers need fp32 weights; what is computed in is the trainer's to say
    if base.start is None:
        return model, new_adapter(lora, model)
    found = json.loads((base.start / "adapter_config.json").read_text(encoding="utf-8"))
    for name, theirs, ours in (
        ("r", found["r"], lora.r),
        ("alpha", found["lora_alpha"], lora.alpha),
        ("rslora", found["use_rslora"], lora.rslora),
        ("dora", found["use_dora"], lora.dora),
    ):
        if name in lora.model_fields_set and theirs != ours:
            raise MlxError(
                f"train.start {base.start.parent} has lora.{name} {theirs}, and train.lora.{name} is {ours}", "make them the same"
            )
    return PeftModel.from_pretrained(model, base.start.as_posix(), is_trainable=True), None


@contextmanager
def in_fp32(model: Any) -> Iterator[None]:
    """Let the block build a trainer on `model`, and see that the trained weights come out as they went in, in fp32.

    TRL casts the adapter of a quantised model to bf16, in which most updates of a usual learning rate are rounded away,
    and a checkpoint is read back as fp32: another run than the one that was interrupted.
    """
    earlier = isinstance(model, PeftModel)  # an adapter with weights that are worth keeping
    before = {name: weight.detach().float().clone() for name, weight in model.named_parameters() if earlier and weight.requires_grad}
    yield
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
        origin = name.replace(".ref.", ".default.")
        if origin in before:
            weight.data = before[origin].to(weight.device).clone()
