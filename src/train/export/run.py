"""Runs exports the way stages run: up to date or made anew, whole or not there, with a manifest."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from src.core.project import Project
from src.core.stage import Stage, StageConfig
from src.train.export.adapter import AdapterConfig, adapter
from src.train.export.evaluated import evaluation, may_go
from src.train.export.gguf import GgufConfig, Kind, gguf
from src.train.export.merge import Dtype, MergeConfig, merge


def merged(
    project: Project, *, base: Literal["dequantized", "original"] = "dequantized", dtype: Dtype = "auto", force: bool = False
) -> Path:
    """Merge, unless it is up to date; return the folder.

    Raises:
        MlxError: Where the gates of the evaluation failed (unless `force`), or the merged model is not what was trained.
    """
    return _made(project, merge, MergeConfig(base=base, dtype=dtype), force=force)


def as_gguf(project: Project, *, kind: Kind, num_ctx: int | None = None, force: bool = False) -> Path:
    """Write a GGUF of the merged model, merging first where that is not done; return the folder.

    Raises:
        MlxError: Where the gates failed (unless `force`), or llama.cpp has nothing that the model or its tokenizer would be right as.
    """
    from src.core.manifest import Manifest

    place = merge.folder(project.name)
    there = Manifest.find(place)
    config = MergeConfig.model_validate({key: there.config[key] for key in ("base", "dtype")}) if there else MergeConfig()
    place = _made(project, merge, config, force=force)
    return _made(project, gguf, GgufConfig(input=(place,), kind=kind, num_ctx=num_ctx), force=force)


def as_adapter(project: Project, *, force: bool = False) -> Path:
    """Copy the adapter with its card; return the folder."""
    return _made(project, adapter, AdapterConfig(), force=force)


def _made(project: Project, stage: Stage[Any], config: StageConfig, *, force: bool) -> Path:
    evaluated = evaluation(project)
    may_go(evaluated, force=force)
    # an evaluation of another model is none of this one's
    present = project.present | {"train"} if evaluated else project.present - {"eval"}
    stage(replace(project, sections={**project.sections, stage.name: config}, present=present))
    return stage.folder(project.name)
