"""Build TRL's trainer on rows that are tokens and labels already, and see that it loses none of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from src.models.load import load, load_tokenizer
from src.train.accounted import accounted
from src.train.adapter import adapted, in_fp32
from src.train.arguments import arguments
from src.train.attention import VARLEN, register_varlen
from src.train.base import Base
from src.train.rows import Row, as_columns

if TYPE_CHECKING:
    from src.train import TrainConfig


def make_trainer(config: "TrainConfig", work: Path, base: Base, rows: list[Row], *, seed: int) -> SFTTrainer:
    """Load the base, put an adapter on it where one is trained, and pack the rows."""
    datasets.disable_progress_bars()
    model, peft = adapted(load_base(config, base), config.lora, base)
    with in_fp32(model):
        trainer = SFTTrainer(
            model=model,
            args=_arguments(config, work, base, seed),
            train_dataset=datasets.Dataset.from_dict(as_columns(rows)),
            processing_class=load_tokenizer(base.tokenizer),
            peft_config=peft,
        )
    trainer.remove_callback(PrinterCallback)
    accounted(trainer.train_dataset, trainer.data_collator, rows, packing=config.packing)
    return trainer


def load_base(config: "TrainConfig", base: Base) -> Any:
    """Load the base model as it is trained on."""
    if base.attention == VARLEN:
        register_varlen()
    dtype = base.dtype if config.lora else "fp32"
    return load(base.path, quantization=config.quantization, dtype=dtype, device=base.device, attention=base.attention).model


def put_weights(model: Any, checkpoint: Path) -> None:
    """Give the model the trained weights of a checkpoint."""
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
        return
    for file in sorted(checkpoint.glob("*.safetensors")):
        model.load_state_dict(load_file(file), strict=False)  # tied weights are stored once, and a shard holds a part


def _arguments(config: "TrainConfig", work: Path, base: Base, seed: int) -> SFTConfig:
    return SFTConfig(
        **arguments(config, work, base, seed=seed),
        # rows come as tokens and labels, none over the limit: there is nothing for TRL to prepare, cut or drop but to pack them
        dataset_kwargs={"skip_prepare_dataset": not config.packing},
        max_length=config.sequence_length if config.packing else None,
        packing=config.packing,
        packing_strategy="bfd",
        activation_offloading=config.activation_offloading,
    )
