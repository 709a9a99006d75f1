"""Help with a training that another machine leads: train along, write nothing of it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.log import logged_to
from src.core.run import Run
from src.core.stage import folder

if TYPE_CHECKING:
    from src.core.project import Project


def join(project: "Project") -> None:
    """Run this machine's processes of the training, until it ends."""
    from src.train import train
    from src.train.together import together

    config: Any = project.section("train")
    inputs = train.inputs(project)
    work = folder(project.name, "train") / ".work" / train.key(project, inputs)
    output = work / f"node{config.launch.node}"
    output.mkdir(parents=True, exist_ok=True)
    run = Run(
        stage="train", name=project.name, seed=project.head.seed, output=output, work=work, cache=project.head.model_cache, inputs=inputs
    )
    with logged_to(Path("log") / project.name / f"train.node{config.launch.node}.log"):
        together(config, run)
    logging.getLogger("mlx.train").info("done here; the output is written where train.launch.node is 0")
