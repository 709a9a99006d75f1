"""What every command is given: a project file and settings over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.core.errors import MlxError

if TYPE_CHECKING:
    from src.core.project import Project

Arguments = Annotated[list[str] | None, typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="Project file and settings over it.")]
Force = Annotated[bool, typer.Option("--force", help="Run even if the output is up to date.")]


def opened(arguments: Sequence[str] | None, *, check_inputs: bool = True) -> "Project":
    """Read the project that the command line names, and start the console log."""
    from src.core.log import console
    from src.pipeline import load_project

    file, settings = named(arguments)
    project = load_project(file, settings, check_inputs=check_inputs)
    console(project.head.log_level)
    return project


def named(arguments: Sequence[str] | None) -> tuple[Path, list[str]]:
    """The project file and the settings over it that the command line names."""
    from src.core.project import DEFAULT

    given = list(arguments or ())
    files = [each for each in given if "=" not in each]
    usage = "as in mlx train config/main.yaml train.lora.r=32"
    if len(files) > 1:
        raise MlxError(f"{files[1]!r} is no KEY=VALUE, and the config is {files[0]} already", usage)
    if files and not files[0].endswith((".yaml", ".yml")) and not Path(files[0]).exists():
        raise MlxError(f"{files[0]!r} is neither a project file (.yaml) nor KEY=VALUE", usage)
    return Path(files[0]) if files else DEFAULT, [each for each in given if "=" in each]
