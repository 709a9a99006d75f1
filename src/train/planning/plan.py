"""The plan of a project's training: what it will take as it is written, and which way would be better."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.errors import MlxError
from src.core.project import Project
from src.core.stage import folder
from src.train.planning.architecture import read_shape, shape_of
from src.train.planning.estimate import Estimate, Job, estimate
from src.train.planning.gpu import Gpu
from src.train.planning.histogram import read_histogram
from src.train.planning.options import options, quickest
from src.train.planning.setting import Setting
from src.train.planning.shape import Shape

if TYPE_CHECKING:
    from src.train import TrainConfig

SCRATCH = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 2}
"""The shape of `model: scratch`; its vocabulary is the dataset's own."""


@dataclass(frozen=True)
class Plan:
    """The estimate of what is written, and of what could be."""

    project: Project
    config: "TrainConfig"
    job: Job
    written: Estimate

    @cached_property
    def options(self) -> list[Estimate]:
        """Other ways, best first."""
        return options(self.job, self.written.setting)

    @property
    def best(self) -> Estimate | None:
        """The quickest way that fits."""
        return next((each for each in self.options if each.fits), None)


def plan(project: Project, gpu: Gpu, *, on_cpu: bool = False) -> Plan:
    """Reckon the training of a project on a card.

    Raises:
        MlxError: Where the project trains nothing, or its model's shape is not known.
    """
    config: Any = project.section("train")
    setting = Setting.of(config, on_cpu=on_cpu)
    where = config.input[0] if config.input else folder(project.name, "build")
    rows = read_histogram(Path(where), setting.sequence)
    job = Job(shape_for(config), gpu, rows, config.epochs, config.max_steps)
    if not rows.upto(setting.sequence).rows:
        raise MlxError(f"no row is as short as train.sequence_length {setting.sequence}: the longest has {rows.longest}", "raise it")
    written = quickest(job, setting) if config.micro_batch == "auto" else estimate(job, setting)
    return Plan(project, config, job, written)


def shape_for(config: "TrainConfig") -> Shape:
    """The shape of what a section trains."""
    if config.model == "scratch":
        return read_shape("scratch", {**SCRATCH, "vocab_size": 1216, "max_position_embeddings": 2048, "tie_word_embeddings": True})
    shape = shape_of(config.model)
    if config.task == "classify":
        return shape.classifier(shape.labels or 2)
    return shape.classifier(0) if shape.encoder else shape
