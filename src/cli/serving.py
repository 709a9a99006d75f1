"""Commands around a served model."""

import sys
from typing import Annotated

import typer

from src.cli.arguments import Arguments, opened
from src.cli.stages import run_stage


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


def serve(
    arguments: Arguments = None,
    force: Annotated[bool, typer.Option("--force", help="Serve even a model that failed an eval gate.")] = False,
) -> None:
    """Run the server."""
    run_stage("serve", opened(arguments), force=force)
