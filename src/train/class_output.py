"""Write what a classifier's training leaves behind besides the weights: its classes, its head's config, its scores."""

import json
import shutil
from typing import TYPE_CHECKING

from src.core.run import Run
from src.models.confusion import plot_confusion
from src.track.metrics import read_metrics
from src.train.base import Base
from src.train.checkpoints import Checkpoint
from src.train.class_data import Data
from src.train.class_plot import plot_scores
from src.train.output import write_output

if TYPE_CHECKING:
    from src.train import TrainConfig

HEAD, SCORES = "head", "scores"
"""Folders in `run.work`: the config of the head, and what was measured at each step."""


def write_classifier(config: "TrainConfig", run: Run, base: Base, data: Data, last: Checkpoint, *, seconds: float) -> None:
    """Write the best state and all that is known of it. Copies: a kill from here on finds the work where it was."""
    write_output(config, run, base, last, seconds=seconds)
    made = run.output / str(run.info["weights"])
    if config.lora:  # a whole model has brought its own
        shutil.copy(run.work / HEAD / "config.json", made)
    step = int(run.info["written_step"])
    scores = json.loads((run.work / SCORES / f"{step}.json").read_text(encoding="utf-8"))
    counts = [sum(row) for row in scores["confusion"]]
    commonest = max(counts) / sum(counts)
    rows = read_metrics(run.output / "metrics.jsonl")
    plot_scores(rows, run.output / "scores.png", title=run.name, best=step, commonest=commonest)
    plot_confusion(scores["confusion"], data.labels, run.output / "confusion.png", title=f"Validation, step {step}")
    planned = json.loads((last.folder / "trainer_state.json").read_text(encoding="utf-8"))["max_steps"]
    run.info |= {
        "labels": list(data.labels),
        "priors": [count / len(data.train) for count in data.counts],
        "max_tokens": data.reading.longest,
        "too_long": data.reading.too_long,
        "classes": dict(zip(data.labels, data.counts, strict=True)),
        "class_weights": dict(zip(data.labels, data.weights, strict=True)),
        "scores": scores,
        "commonest_class": commonest,
        "ended_early": last.step < planned,
    }
    told = (step, scores["accuracy"], commonest, scores["macro_f1"])
    run.log.info("kept step %d: accuracy %.3f (commonest class %.3f), macro F1 %.3f", *told)
