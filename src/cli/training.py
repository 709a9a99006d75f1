"""Commands around the training of a model."""

import typer

from src.cli.arguments import Arguments, opened


def tune(arguments: Arguments = None) -> None:
    """Search better settings with Optuna, as the section `tune` says."""
    from src.tune import tune as search

    found = search(opened(arguments))
    against = "" if found.default is None else f", {found.default:.5g} with the config's own settings"
    typer.echo(
        f"\n{found.table}\n\nBest: {found.value:.5g}{against}\nPlots and trials: {found.best.parent}\nNext:\n  mlx train {found.best}"
    )
