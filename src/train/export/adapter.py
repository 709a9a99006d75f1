"""Copies the adapter with tokenizer, chat template and card, so that it can be handed on as it is."""

import json
import shutil
from pathlib import Path

from src.core.errors import MlxError
from src.core.files import write_text
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.models.trained import Trained
from src.train.export.card import Card


class AdapterConfig(StageConfig):
    """Copy the adapter."""


@stage(reads={"model": ("train",), "evaluation": ("eval", None)}, volatile=("README.md",), at="checkpoint/{name}/export/adapter")
def adapter(config: AdapterConfig, run: Run) -> None:
    """Copy the adapter with its tokenizer, chat template and card."""
    del config  # there is nothing to choose
    trained = Trained.of(run.input("model").path)
    if trained.adapter is None:
        raise MlxError("this training has no adapter: it trained all weights", "mlx export merge")
    for file in sorted(trained.adapter.iterdir()):
        shutil.copy(file, run.output)
    settings = json.loads((run.output / "adapter_config.json").read_text(encoding="utf-8"))
    if trained.base_kind != "hub":  # a path of this machine
        settings["base_model_name_or_path"] = Path(trained.base).name
    write_text(run.output / "adapter_config.json", json.dumps(settings, indent=2, sort_keys=True) + "\n")
    run.info |= trained.as_info()
    write_text(run.output / "README.md", Card.of(run, trained, "adapter").text())
