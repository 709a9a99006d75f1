"""Makes a model of an adapter, beside the model whose process has its base."""

from pathlib import Path
from typing import cast

from src.serve.engines.adapter import Adapter, Process, adapter_path
from src.serve.engines.part import UpstreamPart
from src.serve.gateway.model import Model


def adapter_model(process: Model, name: str, folder: Path, *, turn: int = 0, told: bool = False) -> Model:
    """The model `name` of the training in `folder`; its system prompt is its own, all other settings are those of `process`.

    Args:
        process: The model whose vLLM has the base.
        name: What clients call it.
        folder: What `mlx train` left.
        turn: How often this name was loaded before (`adapter_path`).
        told: Whether vLLM is told of it when it starts.

    Raises:
        MlxError: Where there is no such training.
    """
    from src.models.trained import Trained

    trained = Trained.of(folder)
    part = cast(UpstreamPart, process.part)
    engine = Adapter(cast(Process, process.engine), part, name=name, path=adapter_path(folder, turn), told=told)
    tokenizer = trained.tokenizer if (trained.tokenizer / "tokenizer.json").exists() else None
    return Model(
        name, engine, part, trained.system, process.longest, tokenizer=part.tokenizer or tokenizer, folder=folder, within=process.name
    )
