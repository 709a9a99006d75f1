"""Commands that run stages, and tell how a project stands."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src import STAGES
from src.cli.arguments import Arguments, Force, named, opened
from src.core.errors import MlxError

if TYPE_CHECKING:
    from src.core.manifest import Manifest
    from src.core.project import Project


def stage_command(name: str) -> Callable[..., None]:
    """Make the command of the stage `name`."""

    def command(arguments: Arguments = None, force: Force = False) -> None:
        run_stage(name, opened(arguments), force=force)

    return command


def label(
    arguments: Arguments = None,
    force: Force = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it will take in calls, tokens and money; ask nobody.")] = False,
    optimise: Annotated[Path | None, typer.Option(metavar="FILE", help="Let dspy choose the prompt's examples, for label.prompt.")] = None,
) -> None:
    """Run the stage, say what it would cost, or look for a better prompt."""
    project = opened(arguments)
    if estimate:
        from src.label.estimate import estimate as foretell

        typer.echo(foretell(project))
    elif optimise:
        from src.label.optimise import optimise as choose

        found = choose(project, optimise)
        typer.echo(
            f"{optimise}: {found['examples']} examples; accuracy on {found['rows']} gold rows it has not seen: "
            f"{found['before']:.3f} before, {found['after']:.3f} with them\nNext: mlx label {project.arguments} label.prompt={optimise}"
        )
    else:
        run_stage("label", project, force=force)


def build(
    arguments: Arguments = None,
    force: Force = False,
    preview: Annotated[int, typer.Option(metavar="N", help="Then show N rows, trained tokens coloured.")] = 0,
) -> None:
    """Run the stage, then show some of what it made; `mlx build check [CONFIG]` only runs the checks on what is there."""
    if arguments and arguments[0] == "check":
        check(opened(arguments[1:], check_inputs=False))
        return
    project = opened(arguments)
    run_stage("build", project, force=force)
    if preview:
        from src.build.preview import preview as rows
        from src.core.stage import folder

        for line in rows(folder(project.name, "build"), preview):
            typer.echo(line)


def evaluate(
    arguments: Arguments = None,
    force: Annotated[bool, typer.Option("--force", help="Ask the models again, even where their answers are kept.")] = False,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Of `diff`: whose rows; the tuned model's if unset.")] = None,
) -> None:
    """Run the stage; `mlx eval diff A B` tells what flipped between the outputs of two evaluations."""
    if arguments and arguments[0] == "diff":
        if len(arguments) != 3:
            raise MlxError("diff compares two folders", "as in mlx eval diff data/twain/eval data/twain/eval_before")
        from src.eval.diff import diff

        for line in diff(Path(arguments[1]), Path(arguments[2]), model):
            typer.echo(line)
        return
    run_stage("eval", opened(arguments), force=force)


def check(project: "Project") -> None:
    """Run the checks of a dataset that is built; exit 1 where one fails."""
    from src.build.check import check as verdicts
    from src.build.check import table
    from src.core.stage import folder

    config: Any = project.section("build")
    if not config.checks:
        raise MlxError(f"{project.file}: build.checks is empty", "name some, such as build.checks='[{type: no_empty_turns}]'")
    found = list(verdicts(folder(project.name, "build"), config.checks))
    typer.echo(table(found))
    if any(each.state == "fail" for each in found):
        raise typer.Exit(1)


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

    typer.echo(f"\n{manifest.info['table']}\n\nReport: {folder(project.name, 'eval') / 'report.html'}\nNext:")
    for command, what in _next(project):
        typer.echo(f"  {command}   # {what}")
    if code := exit_code(manifest):
        raise typer.Exit(code)


def _next(project: "Project") -> list[tuple[str, str]]:
    """What to type after an evaluation, and why; a classifier answers in no words, so that there is nothing to chat with."""
    from src.core.manifest import Manifest
    from src.core.stage import folder

    status = (f"mlx status {project.arguments}", "see what is fresh, and why not")
    place = folder(project.name, "train")
    if (trained := Manifest.find(place)) and trained.info.get("task") == "classify":
        ask = f"c = Classifier.of(Path({place.as_posix()!r})).open(); print(c.labels, c.probabilities([c.encode('a text')]))"
        return [
            (f"less {folder(project.name, 'eval') / 'predictions' / 'tuned.jsonl'}", "each held-out text with its class and probabilities"),
            (f'uv run python -c "from pathlib import Path; from src.models.classifier import Classifier; {ask}"', "ask it yourself"),
            status,
        ]
    return [(f"mlx chat {project.arguments}", "talk to it"), (f"mlx serve {project.arguments}", "serve it, OpenAI-compatible"), status]


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


def plan(
    arguments: Arguments = None,
    gpu: Annotated[
        str, typer.Option(metavar="NAME", help="h100, h200, a100-40, …, cpu; or name=…,memory=GB,tflops=…,bandwidth=…")
    ] = "h100",
    price: Annotated[float | None, typer.Option(metavar="DOLLARS", help="What an hour of it costs.", min=0)] = None,
) -> None:
    """Tell what training will take in memory, time and money, and a better way, before a second of it."""
    from src.core.project import load
    from src.train import train
    from src.train.planning.gpu import gpu_named, this_cpu
    from src.train.planning.plan import plan as reckon
    from src.train.planning.screen import screen

    file, settings = named(arguments)
    project = load(file, settings, {"train": train.Config}, whole=False, check_inputs=False)  # of the other stages it needs nothing
    card = this_cpu() if gpu == "cpu" else gpu_named(gpu)
    found = reckon(project, card, on_cpu=gpu == "cpu")
    for line in screen(found, card.price if price is None else price):
        typer.echo(line)
    if found.best is None:
        raise typer.Exit(1)
