"""Learn from preferences (DPO): TRL trains, on pairs that our template rendered and checked."""

import json
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import datasets
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from src.core.files import write_jsonl, write_text
from src.core.run import Run
from src.models.load import load_tokenizer
from src.models.size import context
from src.train.adapter import adapted, in_fp32
from src.train.arguments import arguments
from src.train.base import Base, find_base
from src.train.checkpoints import newest
from src.train.fit import fit
from src.train.heldout import frozen
from src.train.output import FIGURES, write_output
from src.train.pairs import Collator, Pair, as_columns, read_pairs
from src.train.sft import none_left
from src.train.trainer import load_base

if TYPE_CHECKING:
    from src.train import TrainConfig


def dpo(config: "TrainConfig", run: Run) -> None:
    """Train, or go on training, and write the output."""
    base = find_base(config, run)
    tokenizer = load_tokenizer(base.tokenizer)
    longest = min(config.sequence_length, context(base.path) or config.sequence_length)
    train, validation = (read_pairs(run, tokenizer, split, longest=longest) for split in ("train", "validation"))
    if not train:
        raise none_left(run)
    start = perf_counter()
    checkpoint = newest(run.work / "checkpoints")
    if checkpoint is None or not checkpoint.last:
        trainer = _trainer(config, run, base, train)
        count = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
        run.log.info("%d pairs, %s trainable parameters", len(train), f"{count:,}")
        write_text(run.work / FIGURES, json.dumps({"trainable_parameters": count, "sequences": len(train), "attention": base.attention}))
        checkpoint = fit(config, run, trainer, checkpoint, heldout=_heldout(config, run, trainer, validation))
    write_output(config, run, base, checkpoint, seconds=perf_counter() - start)


class _Trainer(DPOTrainer):  # type: ignore[misc]
    """TRL's, on pairs that are tokens already."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Read the trained adapter too: where a second one lies in a folder of its own, transformers (5.19) reads that alone."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        found = self.accelerator.unwrap_model(model or self.model)
        if "ref" in getattr(found, "peft_config", {}):
            found.load_adapter(resume_from_checkpoint, "default", is_trainable=True)


def _trainer(config: "TrainConfig", run: Run, base: Base, pairs: list[Pair]) -> DPOTrainer:
    """Load the base, and put on it the adapter to train; one that was trained before has a frozen copy as its reference."""
    datasets.disable_progress_bars()
    tokenizer = load_tokenizer(base.tokenizer)
    model, peft = adapted(load_base(config, base), config.lora, base)
    with in_fp32(model):
        trainer = _Trainer(
            model=model,
            args=_arguments(config, run, base),
            data_collator=Collator(tokenizer.pad_token_id),
            train_dataset=datasets.Dataset.from_dict(as_columns(pairs)),
            processing_class=tokenizer,
            peft_config=peft,
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(config: "TrainConfig", run: Run, base: Base) -> DPOConfig:
    mixed = config.dpo.sft_weight > 0
    return DPOConfig(
        **arguments(config, run.work, base, seed=run.seed),
        remove_unused_columns=False,
        max_length=None,  # a pair that is too long was dropped, and none is cut
        beta=config.dpo.beta,
        loss_type=[config.dpo.loss, "sft"] if mixed else [config.dpo.loss],
        loss_weights=[1.0, config.dpo.sft_weight] if mixed else None,
        label_smoothing=config.dpo.label_smoothing,
        precompute_ref_log_probs=config.dpo.reference == "precomputed",
        activation_offloading=config.activation_offloading,
    )


def _heldout(config: "TrainConfig", run: Run, trainer: DPOTrainer, pairs: list[Pair]) -> Callable[[], dict[str, float]] | None:
    """Measure pair by pair; the reference, which never changes, is asked once."""
    if not pairs:
        return None
    pairs = pairs[: config.eval_rows]
    columns = datasets.Dataset.from_dict(as_columns(pairs))
    batches = [{name: each.to(trainer.model.device) for name, each in trainer.data_collator([row]).items()} for row in columns]
    with frozen(trainer.model):
        for batch in batches:
            batch["ref_chosen_logps"], batch["ref_rejected_logps"] = trainer.compute_ref_log_probs(trainer.model, batch)

    def measure() -> dict[str, float]:
        before, trainer.precompute_ref_logps = trainer.precompute_ref_logps, True
        with frozen(trainer.model), trainer.compute_loss_context_manager():
            losses = [float(trainer.compute_loss(trainer.model, batch)) for batch in batches]
        trainer.precompute_ref_logps = before
        margins = list(trainer._metrics["eval"]["rewards/margins"])
        trainer._metrics["eval"].clear()
        found = sorted(zip(margins, losses, pairs, strict=True), key=lambda each: (each[0], each[2].id))
        place = run.work / "losses" / f"{trainer.state.global_step}.jsonl"
        place.parent.mkdir(exist_ok=True)
        write_jsonl(place, ({"id": p.id, "loss": round(loss, 4), "margin": round(m, 4), "source": p.source} for m, loss, p in found))
        return {
            "validation_loss": sum(losses) / len(losses),
            "validation_accuracy": sum(margin > 0 for margin in margins) / len(margins),
            "validation_margin": sum(margins) / len(margins),
        }

    return measure
