"""QLoRA on a CPU learns, loses no row, is deterministic and says what it did."""

import json
from pathlib import Path

import pytest

from src.models.trained import Trained
from src.track.metrics import read_metrics
from src.train import train

OUTPUT = Path("checkpoint/t/train")


def curve(folder=OUTPUT):
    """What a step's numbers are, without those that tell the time."""
    return [{name: value for name, value in row.items() if "second" not in name} for row in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
def test_it_learns(dataset, project, quantization):
    manifest = train(project(f"train.quantization={quantization}", "train.max_steps=20"))
    losses = [row["loss"] for row in curve() if "loss" in row]
    assert len(losses) == 20
    assert losses[-1] < losses[0] * 0.8
    assert manifest.info["validation_loss"] < manifest.info["validation_loss_before"]
    assert manifest.counts == {"read": 48, "kept": 48, "dropped": 0, "reasons": {}}
