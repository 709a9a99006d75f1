"""The `mlx` command. It imports next to nothing: a stage, and what it needs, is imported once its command runs."""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from src import STAGES, __version__
from src.cli import memory, model, serving, setup, stages, training
from src.core.errors import MlxError

STOPPED = 130
"""What a command stopped by Ctrl-C exits with."""
EXTRAS = {"vllm": "gpu", "jupyterlab": "notebook", "redis": "redis"}
"""Packages that come with an extra, and which."""
OWN: dict[str, Callable[..., None]] = {
    "build": stages.build,
    "label": stages.label,
    "train": training.train,
    "eval": stages.evaluate,
    "serve": serving.serve,
}
"""Commands of stages that can do more than run."""
Command = Callable[..., None] | typer.Typer
GROUPS: dict[str, tuple[Command, ...]] = {
    "All of it": (stages.run, stages.plan, stages.status, stages.why, serving.chat),
    "The model": (model.tune, model.verify, model.export),
    "The server": (serving.token, serving.audit, memory.memory),
    "Set-up": (setup.init, setup.config, setup.doctor),
}
"""Commands that are no stage; the first line of each docstring is its help."""
INTRODUCTION = """From raw text to a served, evaluated, fine-tuned model.

\b
Pipeline, one command a stage:
{stages}

{groups}

CONFIG is config/main.yaml unless given. KEY=VALUE sets one value: train.lora.r=32. `mlx COMMAND --help` lists a command's keys.
"""


def headline(stage: str) -> str:
    """The first line of a stage package's docstring, read without importing it."""
    with (Path(__file__).parents[1] / stage / "__init__.py").open(encoding="utf-8") as stream:
        return stream.readline().strip().strip('"')


def application(asked: Sequence[str]) -> typer.Typer:
    """Make the command; of the stages only those named in `asked` are imported, for their help."""
    pipeline = listed((name, headline(name)) for name in STAGES)
    app = typer.Typer(
        name="mlx",
        help=INTRODUCTION.format(stages=pipeline, groups="\n\n".join(map(group, GROUPS))),
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(callback)
    for name in STAGES:
        app.command(name, help=headline(name), epilog=epilog(name, asked), hidden=True)(OWN.get(name) or stages.stage_command(name))
    for each in chain.from_iterable(GROUPS.values()):
        if isinstance(each, typer.Typer):
            app.add_typer(each, hidden=True)
        else:
            app.command(epilog=epilog(each.__name__, asked) if each is model.tune else None, hidden=True)(each)
    return app


def group(name: str) -> str:
    """The lines of `--help` about a group of commands."""
    return f"\b\n{name}:\n" + listed(map(told, GROUPS[name]))


def told(command: Command) -> tuple[str, str]:
    """A command's name and what it does."""
    if isinstance(command, typer.Typer):
        return str(command.info.name), str(command.info.help)
    return getattr(command, "__name__", ""), str(command.__doc__).splitlines()[0]


def listed(commands: Iterable[tuple[str, str]]) -> str:
    """Names and what they do, aligned."""
    return "\n".join(f"  {name:<8} {what}" for name, what in commands)


def show_version(asked: bool) -> None:
    """Show the version and leave."""
    if asked:
        typer.echo(f"mlx {__version__}")
        raise typer.Exit


def callback(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Options before any command."""


def epilog(section: str, asked: Sequence[str]) -> str | None:
    """The keys of a section with their defaults and help, as `KEY=VALUE` spells them, where the help of its command is asked for."""
    if section not in asked or "--help" not in asked:
        return None
    from src.core.describe import describe
    from src.pipeline import section_model

    return "\n\n".join(["\b\nKeys of this section:\n" + "\n".join(describe(section_model(section), section))])


def main() -> None:
    """Run the command; what a user can mend ends in one line and exit code 2, a bug keeps its traceback."""
    try:
        application(sys.argv[1:])()
    except SystemExit as ended:
        if ended.code == STOPPED:
            fail("stopped", "the same command goes on from where it was", code=STOPPED)
        raise
    except MlxError as error:
        fail(str(error), error.hint)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        fail(f"this needs {error.name}, which is not installed", f"uv sync --extra {EXTRAS[error.name]}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        mend(error)


def mend(error: OSError) -> None:
    """Say what to do about a disk that does not take what is written; anything else is a bug."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fail(f"the disk is full: {error}", "free some space, then the same command goes on from where it was")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        fail(f"{error.filename}: {error.strerror}", f"outputs go to data, checkpoint and log in {Path.cwd()}: let yourself write there")
    raise error


def fail(message: str, hint: str = "", code: int = 2) -> None:
    """Say what is wrong and what to do next, on stderr, without any secret."""
    from src.core.secrets import redact

    typer.secho(f"error: {redact(message)}", fg="red", err=True)
    if hint:
        typer.echo(f"hint: {redact(hint)}", err=True)
    raise SystemExit(code)
