"""Commands that set a project and a machine up."""

import json
from typing import Annotated

import typer

from src.cli.arguments import Arguments, opened

config = typer.Typer(
    name="config", help="Show the resolved settings with their origins, or the JSON Schema.", rich_markup_mode=None, no_args_is_help=True
)


def init(
    name: Annotated[str, typer.Argument(help="Name of the new project.")],
    template: Annotated[str, typer.Option(help="Shipped project file to start from: quickstart, main, mistral, …")] = "quickstart",
) -> None:
    """Write a new project file with comments."""
    from src.core.scaffold import scaffold

    file = scaffold(name, template)
    typer.echo(f"{file} is there. Next:\n  edit {file}\n  mlx run {file} --dry-run\n  mlx run {file}")


@config.command()
def show(arguments: Arguments = None) -> None:
    """Show every resolved value and where it came from."""
    from src.core.describe import resolved

    for line in resolved(opened(arguments, check_inputs=False)):
        typer.echo(line)


@config.command()
def schema() -> None:
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
