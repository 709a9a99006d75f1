"""The `mlx` command. It imports next to nothing: a stage, and what it needs, is imported once its command runs."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src import STAGES, __version__
from src.core.errors import MlxError

if TYPE_CHECKING:
    from src.core.manifest import Manifest
    from src.core.project import Project

Arguments = Annotated[list[str] | None, typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="Project file and settings over it.")]
Force = Annotated[bool, typer.Option("--force", help="Run even if the output is up to date.")]
STOPPED = 130
"""What a command stopped by Ctrl-C exits with."""
EXTRAS = {"vllm": "gpu", "jupyterlab": "notebook"}
"""Packages that come with an extra, and which."""

INTRODUCTION = """From raw text to a served, evaluated, fine-tuned model.

\b
Pipeline, one command a stage:
{stages}

\b
All of it:
  run      Run a project's stages up to eval, passing over what is up to date.
  status   Show each stage's rows, age, and whether it is fresh or why not.
  why      Tell the life of a row through the stages.
  chat     Talk to a trained or served model.

\b
Set-up:
  init     Write a new project file with comments.
  config   Show the resolved settings with their origins, or the JSON Schema.
  doctor   Check this machine, and say how to mend what is missing.

CONFIG is config/main.yaml unless given. KEY=VALUE sets one value: train.lora.r=32. `mlx COMMAND --help` lists a command's keys.
"""


def headline(stage: str) -> str:
    """The first line of a stage package's docstring, read without importing it."""
    with (Path(__file__).parent / stage / "__init__.py").open(encoding="utf-8") as stream:
        return stream.readline().strip().strip('"')


def application(asked: Sequence[str]) -> typer.Typer:
    """Make the command; of the stages only those named in `asked` are imported, for their help."""
    stages = "\n".join(f"  {name:<8} {headline(name)}" for name in STAGES)
    app = typer.Typer(
        name="mlx",
        help=INTRODUCTION.format(stages=stages),
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(callback)
    for name in STAGES:
        epilog = "\n\n".join(["\b\nKeys of this section:\n" + "\n".join(settings(name))]) if name in asked and "--help" in asked else None
        command = build if name == "build" else stage_command(name)
        app.command(name, help=headline(name), epilog=epilog, hidden=True)(command)
    for each in (run, status, why, chat, init, doctor):
        app.command(hidden=True)(each)
    config = typer.Typer(
        help="Show the resolved settings with their origins, or the JSON Schema.", rich_markup_mode=None, no_args_is_help=True
    )
    config.command("show")(config_show)
    config.command("schema")(config_schema)
    app.add_typer(config, name="config", hidden=True)
    return app


def show_version(asked: bool) -> None:
    """Show the version and leave."""
    if asked:
        typer.echo(f"mlx {__version__}")
        raise typer.Exit


def callback(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Options before any command."""


def stage_command(name: str) -> Callable[..., None]:
    """Make the command of the stage `name`."""

    def command(arguments: Arguments = None, force: Force = False) -> None:
        run_stage(name, opened(arguments), force=force)

    return command


def build(
    arguments: Arguments = None,
    force: Force = False,
    preview: Annotated[int, typer.Option(metavar="N", help="Then show N rows, trained tokens coloured.")] = 0,
) -> None:
    """Run the stage, then show some of what it made."""
    project = opened(arguments)
    run_stage("build", project, force=force)
    if preview:
        from src.build.preview import preview as rows
        from src.core.stage import folder

        for line in rows(folder(project.name, "build"), preview):
            typer.echo(line)


def run(
    arguments: Arguments = None,
    force: Force = False,
    first: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="Start at this stage.")] = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="End after this stage.")] = "eval",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and why, and do nothing.")] = False,
) -> None:
    """Run a project's stages up to eval, passing over what is up to date."""
    from src import pipeline

    project = opened(arguments)
    if dry_run:
        states = {state.stage: state for state in pipeline.states(project)}
        for name in pipeline.chain(project, first, until):
            state = states.get(name)
            fresh = bool(state and state.fresh and not force)
            typer.echo(f"{name:<8} {'up to date' if fresh else f'would run: {_reason(state, force)}'}")
        return
    *_, last = pipeline.run(project, force=force, first=first, until=until)
    conclude(last, project)


def _reason(state: Any, force: bool) -> str:
    return (state.why if state else "") or ("--force" if force else "it has no end")


def run_stage(name: str, project: "Project", *, force: bool) -> None:
    """Run one stage and say how it ended."""
    from src import pipeline

    manifest = pipeline.stage(name)(project, force=force)
    if manifest:
        conclude(manifest, project)


def conclude(manifest: "Manifest", project: "Project") -> None:
    """Show an evaluation's table, the next commands to type, and exit with its verdict."""
    if manifest.stage != "eval":
        return
    from src.core.stage import folder
    from src.eval import exit_code

    typer.echo(f"\n{manifest.info['table']}\n\nReport: {folder(project.name, 'eval') / 'report.md'}\nNext:")
    for command, why in (("chat", "talk to it"), ("serve", "serve it, OpenAI-compatible"), ("status", "see what is fresh, and why not")):
        typer.echo(f"  mlx {command} {project.arguments}   # {why}")
    if code := exit_code(manifest):
        raise typer.Exit(code)


def status(arguments: Arguments = None) -> None:
    """Show each stage's rows, age, and whether it is fresh or why not."""
    from src import pipeline
    from src.core.grid import age, grid
    from src.core.manifest import now

    project = opened(arguments, check_inputs=False)
    rows: list[list[str]] = []
    for state in pipeline.states(project):
        counts, made = ("", "", ""), "–"
        if state.manifest:
            counts = tuple(f"{state.manifest.counts[key]:,}" for key in ("read", "kept", "dropped"))  # type: ignore[assignment]
            made = age((now() - state.manifest.created).total_seconds())
        rows.append(
            [state.stage, *counts, made, "fresh" if state.fresh else state.why if state.manifest is None else f"stale: {state.why}"]
        )
    typer.echo(grid(rows, ("stage", "read", "kept", "dropped", "age", f"state of {project.name} ({project.file})"), right=(1, 2, 3, 4)))


def why(
    row: Annotated[str, typer.Argument(metavar="ID", help="Id of a record or an example, such as notes.jsonl:12.")],
    arguments: Arguments = None,
) -> None:
    """Tell the life of a row through the stages."""
    from src.core.life import life, like
    from src.core.stage import folder

    project = opened(arguments, check_inputs=False)
    folders = {name: folder(project.name, name) for name in STAGES if name in project.sections}
    found = False
    for line in life(row, folders):
        found = True
        typer.echo(line)
    if not found:
        near = ", ".join(like(row, folders))
        raise MlxError(f"no stage of {project.name} has a row {row!r}", f"did you mean {near}?" if near else f"mlx run {project.arguments}")


def chat(
    arguments: Arguments = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Say this, print the answer, and leave.")] = None,
    url: Annotated[str | None, typer.Option(help="Talk to this OpenAI-compatible server, as http://127.0.0.1:8000/v1.")] = None,
) -> None:
    """Talk to a trained or served model."""
    from src.serve.chat import chat as talk
    from src.serve.chat import read_line, write_text
    from src.serve.partner import partner

    project = opened(arguments, check_inputs=False)
    who = partner(project.name, url, made_by=f"mlx train {project.arguments}")
    talk(who, read=read_line, write=write_text, message=message, interactive=sys.stdin.isatty() and message is None)


def init(
    name: Annotated[str, typer.Argument(help="Name of the new project.")],
    template: Annotated[str, typer.Option(help="Shipped project file to start from: quickstart, main, mistral, …")] = "quickstart",
) -> None:
    """Write a new project file with comments."""
    from src.core.scaffold import scaffold

    file = scaffold(name, template)
    typer.echo(f"{file} is there. Next:\n  edit {file}\n  mlx run {file} --dry-run\n  mlx run {file}")


def config_show(arguments: Arguments = None) -> None:
    """Show every resolved value and where it came from."""
    from src.core.describe import resolved

    for line in resolved(opened(arguments, check_inputs=False)):
        typer.echo(line)


def config_schema() -> None:
    """Print the JSON Schema of a project file."""
    from src import pipeline

    typer.echo(json.dumps(pipeline.schema(), indent=1))


def doctor() -> None:
    """Check this machine, and say how to mend what is missing."""
    from src.core.doctor import checks
    from src.core.secrets import load_env

    load_env()
    fault = False
    for check in checks():
        mark = {"ok": "✓", "note": "·", "fault": "✗"}[check.state]
        typer.echo(f"{mark} {check.what:<20} {check.found}" + (f"\n  {'':<20} → {check.fix}" if check.fix else ""))
        fault = fault or check.state == "fault"
    if fault:
        raise typer.Exit(1)


def settings(name: str) -> Iterator[str]:
    """List the keys of a section with their defaults and help, as `KEY=VALUE` spells them."""
    from src.core.describe import describe
    from src.pipeline import stage

    yield from describe(stage(name).Config, name)


def opened(arguments: Sequence[str] | None, *, check_inputs: bool = True) -> "Project":
    """Read the project that the command line names, and start the console log."""
    from src.core.log import console
    from src.core.project import DEFAULT
    from src.pipeline import load_project

    given = list(arguments or ())
    files = [each for each in given if "=" not in each]
    usage = "as in mlx train config/main.yaml train.lora.r=32"
    if len(files) > 1:
        raise MlxError(f"{files[1]!r} is no KEY=VALUE, and the config is {files[0]} already", usage)
    if files and not files[0].endswith((".yaml", ".yml")) and not Path(files[0]).exists():
        raise MlxError(f"{files[0]!r} is neither a project file (.yaml) nor KEY=VALUE", usage)
    project = load_project(files[0] if files else DEFAULT, [each for each in given if "=" in each], check_inputs=check_inputs)
    console(project.head.log_level)
    return project


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
