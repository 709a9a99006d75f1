"""Commands around a training."""

from typing import Annotated

import typer

from src.cli.arguments import Arguments, Force, opened
from src.cli.stages import run_stage


def train(
    arguments: Arguments = None,
    force: Force = False,
    prove_resume: Annotated[
        int | None, typer.Option("--prove-resume", metavar="K", help="Kill a copy after step K, go on, and compare the losses.")
    ] = None,
) -> None:
    """Run the stage; or prove that a killed training goes on to the same losses, without touching its output."""
    project = opened(arguments)
    if prove_resume is not None:
        from src.train.prove import prove

        proof = prove(project, prove_resume)
        typer.echo(proof.table())
        if not proof.holds:
            raise typer.Exit(1)
        return
    launch = getattr(project.section("train"), "launch", None)
    if launch and launch.node:
        from src.train.join import join

        join(project)
        return
    run_stage("train", project, force=force)
