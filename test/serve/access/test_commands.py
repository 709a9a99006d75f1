"""Keys as people handle them: `mlx token`, `mlx audit verify`, and `mlx chat` with a server that asks for one."""

import json
import logging
import sys
from pathlib import Path

import pytest

from src.cli import main
from src.core.errors import MlxError
from src.serve.access.keys import Keys
from src.serve.access.open_guard import open_guard
from src.serve.access.strength import made
from src.serve.partner import Own, Remote, partner

PROJECT = """name: keeper
train: {model: scratch}
serve:
  port: 0
  access: {roles: {user: {}, admin: {routes: [/admin/*]}}, jwt: {max_days: 20}}
"""


@pytest.fixture
def mlx(capsys, monkeypatch):
    """Run the command; what it printed, what it said on the side, and its code."""
    Path("config").mkdir()
    Path("config/main.yaml").write_text(PROJECT)
    monkeypatch.setenv("MLX_JWT_SECRET", made())

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mlx", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            logging.getLogger("mlx").handlers.clear()
        told = capsys.readouterr()
        return told.out, told.err, code

    return run


@pytest.fixture
def folder():
    return Path("data/keeper/serve")


def opens(web, guarded, scripted, folder, key, access):
    guard = open_guard(access, folder)
    with web.running(scripted, guard=guard) as address:
        return web.ask(address, web.chat(), authorization=f"Bearer {key}")[0]


def test_a_key_that_was_made_opens_and_a_revoked_one_does_not(mlx, web, guarded, scripted, folder):
    out, told, code = mlx("token", "create", "--role", "user", "--name", "ann")
    key = out.strip()
    assert code == 0 and key.startswith("mlx_") and len(out.splitlines()) == 1, told
    assert "shown this once" in told and key not in told
    assert key not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file()), "only its hash is kept"
    spare = mlx("token", "create", "--role", "user")[0].strip()
    access = guarded.access(roles={"user": {}, "admin": {}})
    assert opens(web, guarded, scripted, folder, key, access) == 200
    number = key.split("_")[1]
    assert mlx("token", "revoke", f"mlx_{number}")[0] == f"{number} is revoked\n"
    assert opens(web, guarded, scripted, folder, key, access) == 401
    assert opens(web, guarded, scripted, folder, spare, access) == 200


def test_the_list_shows_state_and_role_and_no_secret(mlx, folder):
    texts = [mlx("token", "create", "--role", role, "--name", name)[0].strip() for role, name in (("user", "ann"), ("admin", "bob"))]
    signed = mlx("token", "create", "--role", "user", "--name", "carl", "--jwt", "--days", "3")[0].strip()
    mlx("token", "revoke", texts[1].split("_")[1])
    out = mlx("token", "list")[0]
    rows = [line.split() for line in out.splitlines()]
    assert [(row[-1], row[1]) for row in rows[:2]] == [("ann", "valid"), ("bob", "revoked")]
    assert rows[2][0] == "jwt" and rows[2][-1] == "carl"
    assert not any(secret in out for secret in (*texts, signed, *(key.hash for key in Keys(folder).all() if key.hash)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("token", "create", "--role", "usr"), "did you mean 'user'"),
        (("token", "create", "--role", "user", "--jwt", "--days", "21"), "max_days is 20"),
        (("token", "revoke", "nobody"), "there is no key 'nobody'"),
        (("audit", "verify"), "nothing was written yet"),
        (("token", "list", "serve.access=null"), "has no serve.access"),
    ],
)
def test_what_cannot_be_done_is_a_line_with_a_way_out(mlx, arguments, words):
    out, told, code = mlx(*arguments)
    assert code == 2 and words in told and "Traceback" not in told and not out


def test_a_signed_token_is_refused_once_its_jti_is_revoked(mlx, web, guarded, scripted, folder):
    signed = mlx("token", "create", "--role", "user", "--name", "ann", "--jwt")[0].strip()
    access = guarded.access(jwt={})
    assert opens(web, guarded, scripted, folder, signed, access) == 200
    number = mlx("token", "list")[0].split()[1]
    assert mlx("token", "revoke", number)[2] == 0
    assert opens(web, guarded, scripted, folder, signed, access) == 401
    assert mlx("token", "revoke", "0f0f", "--jti")[0] == "0f0f is revoked\n"


def test_secrets_that_are_printed_are_lines_of_env(mlx):
    for name in ("MLX_JWT_SECRET", "MLX_AUDIT_KEY"):
        out = mlx("token", "secret", name)[0]
        assert out.startswith(f"{name}=") and len(out.strip().split("=", 1)[1]) >= 43


def test_the_audit_log_is_checked_and_a_changed_line_is_named(mlx, web, guarded, scripted, folder):
    key = mlx("token", "create", "--role", "user")[0].strip()
    assert opens(web, guarded, scripted, folder, key, guarded.access()) == 200
    out, _, code = mlx("audit", "verify")
    assert code == 0 and "4 lines in 1 chains, 0 faults" in out
    (path,) = (folder / "audit").glob("*.jsonl")
    path.write_text(path.read_text().replace('"role":"user"', '"role":"root"', 1))
    out, _, code = mlx("audit", "verify")
    assert code == 1 and f"{path}:2: was changed" in out


def test_a_guarded_server_is_talked_to_with_the_key_of_the_environment(mlx, web, guarded, scripted, folder, monkeypatch):
    key = mlx("token", "create", "--role", "user")[0].strip()
    guard = open_guard(guarded.access(), folder)
    with web.running(scripted, guard=guard) as address:
        (folder / "server.json").write_text(json.dumps({"url": address}))
        for given, hint in ((None, "mlx token create"), ("mlx_0_wrong", "not known")):
            if given:
                monkeypatch.setenv("MLX_API_KEY", given)
            for url in (address, None):  # the project's own server runs, so no model is loaded beside it
                with pytest.raises(MlxError) as refused:
                    partner("keeper", url)
                assert "MLX_API_KEY" in refused.value.hint and hint in refused.value.hint
        out, told, code = mlx("chat", "-m", "Hello", "--url", address)
        assert code == 2 and "MLX_API_KEY" in told
        monkeypatch.setenv("MLX_API_KEY", key)
        who = partner("keeper")
        assert isinstance(who, Remote) and not isinstance(who, Own)
        out, told, code = mlx("chat", "-m", "Hello")
        assert (out.strip(), code) == ("the lamp is lit", 0) and key not in out + told
        assert key not in repr(vars(who))


def test_a_server_without_a_model_is_an_error(web, guarded, scripted, monkeypatch):
    key = guarded.key()
    monkeypatch.setenv("MLX_API_KEY", key)
    access = guarded.access(roles={"user": {"models": ["other"]}})
    with guarded.running(web, scripted, access) as address, pytest.raises(MlxError, match="offers no model"):
        partner("keeper", address)
