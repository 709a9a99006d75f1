"""Commands around a trained model: proving what is served, handing it on."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from src.cli.arguments import Arguments, opened

if TYPE_CHECKING:
    from pathlib import Path

export = typer.Typer(
    name="export", help="Hand the model on: adapter, merged or GGUF, with a model card.", rich_markup_mode=None, no_args_is_help=True
)
Force = Annotated[bool, typer.Option("--force", help="Export even if an eval gate failed.")]
Push = Annotated[
    str | None, typer.Option(metavar="OWNER/NAME", help="Then upload it to this repository of the hub; HF_TOKEN says who you are.")
]
Public = Annotated[bool, typer.Option("--public", help="Let everyone see the repository; it is private unless told.")]


def verify(
    arguments: Arguments = None,
    rows: Annotated[int, typer.Option(min=1, help="Most conversations to compare on.")] = 40,
    url: Annotated[str | None, typer.Option(help="A vLLM that runs, as http://127.0.0.1:8000; else one is started here.")] = None,
    dtype: Annotated[Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="What vLLM computes in; auto: as in training.")] = "auto",
) -> None:
    """Prove that the same tokens and log-probabilities are served as were trained; exit 1 where not."""
    from pathlib import Path

    from src.train.verification.verify import verify as compare

    project = opened(arguments, check_inputs=False)
    report = compare(project, rows=rows, url=url, dtype=dtype)
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"\nReport: {Path('checkpoint') / project.name / 'verify' / 'verify.json'}, verify.png")
    if not report.passed:
        raise typer.Exit(1)


@export.command()
def merge(
    arguments: Arguments = None,
    base: Annotated[
        Literal["dequantized", "original"],
        typer.Option(
            help="What the adapter is folded into: the weights it was trained on, as the quantised ones stand for them, or those before."
        ),
    ] = "dequantized",
    dtype: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="What the weights are kept in; auto: as in training.")
    ] = "auto",
    force: Force = False,
    push: Push = None,
    public: Public = False,
) -> None:
    """Fold the adapter into its base: a model that needs no other."""
    from src.train.export.run import merged

    project = opened(arguments, check_inputs=False)
    shown(merged(project, base=base, dtype=dtype, force=force), push, public, "mlx serve CONFIG serve.input={}")


@export.command()
def gguf(
    arguments: Arguments = None,
    kind: Annotated[Literal["f32", "f16", "bf16", "q8_0"], typer.Option("--type", help="What the weights are kept in.")] = "f16",
    num_ctx: Annotated[
        int | None, typer.Option(min=16, help="Context for Ollama; the longest row of the dataset, doubled, if unset.")
    ] = None,
    force: Force = False,
    push: Push = None,
    public: Public = False,
) -> None:
    """Write a GGUF file and a Modelfile, for llama.cpp and Ollama."""
    from src.train.export.run import as_gguf

    project = opened(arguments, check_inputs=False)
    made = as_gguf(project, kind=kind, num_ctx=num_ctx, force=force)
    shown(made, push, public, f"ollama create {project.name} -f {{}}/Modelfile")


@export.command()
def adapter(arguments: Arguments = None, force: Force = False, push: Push = None, public: Public = False) -> None:
    """Copy the adapter with its tokenizer, chat template and card."""
    from src.train.export.run import as_adapter

    shown(as_adapter(opened(arguments, check_inputs=False), force=force), push, public, "")


def shown(folder: "Path", push: str | None, public: bool, then: str) -> None:
    """Say where the export is and what to do with it, and upload it where that is asked for."""
    typer.echo(f"{folder} is there, with its card README.md")
    if then:
        typer.echo(f"Next: {then.format(folder)}")
    if push:
        from src.train.export.push import push as upload

        typer.echo(f"uploaded: {upload(folder, push, private=not public)}")


def tune(arguments: Arguments = None) -> None:
    """Search better settings with Optuna, as the section `tune` says."""
    from src.tune import tune as search

    found = search(opened(arguments))
    against = "" if found.default is None else f", {found.default:.5g} with the config's own settings"
    typer.echo(
        f"\n{found.table}\n\nBest: {found.value:.5g}{against}\nPlots and trials: {found.best.parent}\nNext:\n  mlx train {found.best}"
    )
