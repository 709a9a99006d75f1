"""Commands around a served model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from src.cli.arguments import Arguments, opened
from src.cli.stages import run_stage
from src.core.errors import MlxError, did_you_mean

if TYPE_CHECKING:
    from src.core.project import Project
    from src.serve.access.settings import Access

token = typer.Typer(name="token", help="Make, list and revoke the keys of a server.", rich_markup_mode=None, no_args_is_help=True)
audit = typer.Typer(name="audit", help="Check the log of who asked what of a server.", rich_markup_mode=None, no_args_is_help=True)
Folder = tuple["Project", "Access", Path]


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


@token.command()
def create(
    role: Annotated[str, typer.Option(help="One of serve.access.roles.")],
    arguments: Arguments = None,
    name: Annotated[str, typer.Option(help="Whose it is.")] = "",
    days: Annotated[
        float | None, typer.Option(min=0.001, max=36500, help="Valid so long; without it a key is until it is revoked.")
    ] = None,
    jwt: Annotated[bool, typer.Option("--jwt", help="A signed token (HS256) in place of a key.")] = False,
) -> None:
    """Make a key; it is shown this once, and kept as a hash."""
    from src.serve.access.make import make_key, make_token

    project, access, folder = _access(arguments)
    if role not in access.roles:
        raise MlxError(f"{project.file}: serve.access.roles has no role {role!r}{did_you_mean(role, access.roles)}")
    key, text = (make_token if jwt else make_key)(access, folder, name=name, role=role, days=days)
    typer.echo(f"{key.id} ({role}{f', until {key.expires[:16]}' if key.expires else ''}) is shown this once:", err=True)
    typer.echo(text)


@token.command("list")
def list_keys(arguments: Arguments = None) -> None:
    """List the keys, without what is secret about them."""
    from src.serve.access.keys import MARK, Keys

    _, access, folder = _access(arguments)
    for key in Keys(access.keys_at(folder)).all():
        shown = f"{MARK}{key.id}…" if key.hash else f"jwt {key.id}"
        typer.echo(
            f"{shown:<20} {key.state:<8} {key.role:<12} {key.created[:16]}  {(key.expires or 'no end')[:16]:<16}  {key.name}".rstrip()
        )


@token.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, as `mlx token list` shows it.")],
    arguments: Arguments = None,
    jti: Annotated[bool, typer.Option("--jti", help="It is the `jti` of a token that somebody else made.")] = False,
) -> None:
    """Revoke a key: a server that runs refuses it from the next request on."""
    from src.serve.access.keys import Keys

    _, access, folder = _access(arguments)
    typer.echo(f"{Keys(access.keys_at(folder)).revoke(key, foreign=jti).id} is revoked")


@token.command()
def secret(name: Annotated[str, typer.Argument(help="The environment variable.")] = "MLX_JWT_SECRET") -> None:
    """Print a new secret, as a line for .env."""
    from src.serve.access.strength import made

    typer.echo(f"{name}={made()}")


@audit.command()
def verify(arguments: Arguments = None) -> None:
    """Check that no line of the audit log was changed, removed or moved."""
    from src.serve.access.audit import audit_key
    from src.serve.access.open_guard import AUDIT
    from src.serve.access.verify_audit import verify as check

    _, access, folder = _access(arguments)
    if not (folder / AUDIT).is_dir():
        raise MlxError(f"{folder / AUDIT} is not there: nothing was written yet", "mlx serve writes it once serve.access is set")
    found = check(folder / AUDIT, audit_key(access.audit.key_env if access.audit else None))
    for note in found.notes:
        typer.echo(f"note: {note}")
    for fault in found.faults:
        typer.secho(fault, fg="red")
    typer.echo(f"{found.lines:,} lines in {found.chains} chains, {len(found.faults)} faults")
    if found.faults:
        raise typer.Exit(1)


def _access(arguments: list[str] | None) -> Folder:
    """The project, its `serve.access`, and the folder where keys and audit log lie."""
    from src.core.stage import folder

    project = opened(arguments, check_inputs=False)
    access: Access | None = getattr(project.section("serve"), "access", None)
    if access is None:
        raise MlxError(f"{project.file}: has no serve.access", "add serve: {access: {roles: {user: {requests_per_minute: 60}}}} to it")
    return project, access, folder(project.name, "serve")


def serve(
    arguments: Arguments = None,
    force: Annotated[bool, typer.Option("--force", help="Serve even a model that failed an eval gate.")] = False,
) -> None:
    """Run the server."""
    run_stage("serve", opened(arguments), force=force)
