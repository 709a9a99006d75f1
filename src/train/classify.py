"""Train a classifier: LoRA and a head on a decoder, or all weights of an encoder; it takes up where a kill left off."""

import json
from time import perf_counter
from typing import TYPE_CHECKING

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.run import Run
from src.models.classifier import LoadedClassifier
from src.models.load import load_tokenizer
from src.models.load_classifier import save_head_config
from src.models.size import context
from src.train.base import Base
from src.train.checkpoints import Checkpoint, newest
from src.train.class_base import find_class_base
from src.train.class_data import Data
from src.train.class_loss import class_loss, class_weights
from src.train.class_output import HEAD, SCORES, write_classifier
from src.train.class_rows import Reading, class_counts, class_names, read_class_rows, text_alone
from src.train.class_scorer import Scorer
from src.train.class_trainer import make_class_trainer
from src.train.fit import fit
from src.train.output import FIGURES

if TYPE_CHECKING:
    from src.train import TrainConfig

BEST = "validation_macro_f1"
"""By what a state is kept where the config does not say: accuracy alone rewards naming the commonest class."""


def classify(config: "TrainConfig", run: Run) -> None:
    """Train, or go on training, and write the output."""
    if config.start:
        raise MlxError("train.start: a classifier starts from a base model, not from an adapter", "remove it")
    config = config.model_copy(update={"best": config.best or BEST})
    text_alone(run.input("dataset").manifest)
    labels = class_names(run, config.classify.labels)
    base = find_class_base(config, run)
    data = _read(config, run, base, labels)
    start = perf_counter()
    checkpoint = newest(run.work / "checkpoints")
    if checkpoint is None or not checkpoint.last:
        checkpoint = _fit(config, run, base, data, checkpoint)
    write_classifier(config, run, base, data, checkpoint, seconds=perf_counter() - start)


def _read(config: "TrainConfig", run: Run, base: Base, labels: tuple[str, ...]) -> Data:
    tokenizer = load_tokenizer(base.path)
    longest = min(config.sequence_length, context(base.path) or config.sequence_length, tokenizer.model_max_length)
    reading = Reading(tokenizer, labels, longest, config.classify.too_long)
    rows = {split: read_class_rows(run, reading, split) for split in ("train", "validation")}
    for split, found in rows.items():
        if not found:
            reasons = ", ".join(f"{reason} {count}" for reason, count in run.ledger.counts()["reasons"].items()) or "the split is empty"
            raise MlxError(
                f"no row of {split} is left: {reasons}",
                f"look at {run.ledger.path.name}; build.splits sets the shares, and the best state is chosen by validation",
            )
    counts = class_counts(rows["train"], len(labels))
    run.log.info("training rows: %s", ", ".join(f"{label} {count:,}" for label, count in zip(labels, counts, strict=True)))
    return Data(reading, rows["train"], rows["validation"], class_weights(counts, labels, config.classify.weights))


def _fit(config: "TrainConfig", run: Run, base: Base, data: Data, checkpoint: Checkpoint | None) -> Checkpoint:
    """Train to the end; return the last checkpoint."""
    loss = class_loss(data.weights, config.classify.label_smoothing)
    trainer = make_class_trainer(config, run.work, base, data, loss, seed=run.seed)
    trainable = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    run.log.info("%s trainable parameters", f"{trainable:,}")
    write_text(run.work / FIGURES, json.dumps({"trainable_parameters": trainable}))
    save_head_config(trainer.model, run.work / HEAD)
    reading = data.reading
    classifier = LoadedClassifier(trainer.model, reading.tokenizer, data.labels, reading.longest, reading.too_long, base.dtype == "bf16")
    scorer = Scorer(
        run.work / SCORES,
        lambda: int(trainer.state.global_step),
        classifier,
        data,
        loss,
        most=config.eval_rows,
        batch_size=config.micro_batch,
    )
    return fit(config, run, trainer, checkpoint, heldout=scorer)
