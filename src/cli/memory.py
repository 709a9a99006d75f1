"""Commands around a server's memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.cli.arguments import Arguments, opened
from src.core.errors import MlxError

if TYPE_CHECKING:
    from src.serve.memory import Memory

memory = typer.Typer(
    name="memory", help="Search what a server's memory holds, and bring it up to date.", rich_markup_mode=None, no_args_is_help=True
)


@memory.command()
def search(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    arguments: Arguments = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=50, help="How many passages.")] = 5,
) -> None:
    """Show the passages nearest to a question, as answers would draw on them."""
    for found in _asked(arguments, "search", question=question, k=count)["found"]:
        typer.secho(f"{found['score']:.2f}  {found['source']}", bold=True)
        typer.echo("\n".join(f"      {line}" for line in found["text"].splitlines()))


@memory.command()
def reindex(
    arguments: Arguments = None,
    anew: Annotated[bool, typer.Option("--anew", help="Make all vectors again; not while a server runs.")] = False,
) -> None:
    """Take up what changed in the files; a server that runs does so by itself, some seconds later."""
    done = _asked(arguments, "reload", anew=anew)
    typer.echo(f"{done['files']:,} files, {done['passages']:,} passages: {done['added']:,} added, {done['forgotten']:,} forgotten")
    for reason in done["left_out"]:
        typer.echo(f"left out: {reason}")


@memory.command()
def seal(file: Annotated[str, typer.Argument(help="A note, by its path in the memory's folder.")], arguments: Arguments = None) -> None:
    """Seal a readable note with the key in MLX_MEMORY_KEY; answers draw on it as before."""
    _changed(file, arguments, to_sealed=True)


@memory.command()
def unseal(file: Annotated[str, typer.Argument(help="A note, by its path in the memory's folder.")], arguments: Arguments = None) -> None:
    """Make a sealed note readable again."""
    _changed(file, arguments, to_sealed=False)


def _changed(file: str, arguments: list[str] | None, *, to_sealed: bool) -> None:
    from src.serve.memory.sealed import ENDING, sealed_file, unsealed_file

    settings, _ = _memory(arguments)
    key = settings.seal()
    if key is None:
        raise MlxError(f"{settings.key_env} is not set", f"mlx token secret {settings.key_env} makes one; add the line it prints to .env")
    made = (sealed_file if to_sealed else unsealed_file)(settings.folder / file.removesuffix(ENDING), key)
    typer.echo(f"{made}: {'sealed' if to_sealed else 'readable'}")


def _memory(arguments: list[str] | None) -> tuple["Memory", str]:
    """The settings of the memory, and the project's name."""
    project = opened(arguments, check_inputs=False)
    settings: Memory | None = getattr(project.section("serve"), "memory", None)
    if settings is None:
        raise MlxError(f"{project.file}: has no serve.memory", "add serve: {memory: {folder: memory_bank}} to it")
    return settings, project.name


def _asked(arguments: list[str] | None, do: str, *, anew: bool = False, **what: Any) -> dict[str, Any]:
    """Ask the process of a server that runs, else open the memory here."""
    from src.core.stage import folder
    from src.serve.beside.keeper import answers
    from src.serve.memory.link import SOCKET

    settings, name = _memory(arguments)
    socket = folder(name, "serve") / SOCKET
    running = answers(socket)
    if anew and running:
        raise MlxError("a server has this memory open", "end it first")
    if running:
        return _of_server(socket, do, what)
    if anew:
        from src.serve.memory.sealed import clear

        clear(settings.index or Path("data") / name / "memory", "embedded", "sealed")
    return _here(settings, name, do, what)


def _of_server(socket: Path, do: str, what: dict[str, Any]) -> dict[str, Any]:
    import asyncio

    from src.serve.beside.line import Line, LineError

    async def ask() -> dict[str, Any]:
        line = Line(socket)
        try:
            return await line.ask(do, within=600, **what)
        finally:
            await line.close()

    try:
        return asyncio.run(ask())
    except LineError as error:
        raise MlxError(f"the memory of the server that runs: {error}", "its log is log/NAME/memory.log") from None


def _here(settings: "Memory", name: str, do: str, what: dict[str, Any]) -> dict[str, Any]:
    from contextlib import closing

    from src.serve.memory.answers import found, reloaded

    with closing(settings.open(name)) as bank:
        return found(bank, what["question"], what["k"]) if do == "search" else reloaded(bank.changes)
