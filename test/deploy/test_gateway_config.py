"""The shipped gateway: what its image holds is all that it imports, and it starts from the shipped config."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import sys, json
sys.argv = ["mlx", "serve", sys.argv[1], "serve.host=127.0.0.1", "serve.port=0"]
from src.serve.server import Server
def run(server, listening):
    listening.close()
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
Server.run_on = run
from src.cli import main
main()
"""


def test_the_image_of_the_gateway_holds_what_a_gateway_imports(tmp_path):
    pytest.importorskip("redis", reason="needs the extra redis (uv sync --extra redis)")
    from src.serve.access.keys import Keys

    Keys(tmp_path / "keys").create(name="ann", role="user", days=None)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(ROOT / "config/gateway.yaml")], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "fastapi" in loaded and not {"torch", "transformers", "numpy", "polars"} & loaded
    listed = {re.split(r"[\[=<>]", line)[0] for line in (ROOT / "deploy/gateway.txt").read_text().splitlines() if line and line[0] != "#"}
    names = {"python-dotenv": "dotenv", "pyyaml": "yaml", "pyjwt": "jwt", "prometheus-client": "prometheus_client"}
    held = {names.get(each, each) for each in listed}
    ours = loaded - set(sys.stdlib_module_names) - {"src", "pydantic_core"}
    direct = {
        name for path in (ROOT / "src/serve").rglob("*.py") for name in re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.M)
    }
    assert ours & direct <= held, f"deploy/gateway.txt lacks {ours & direct - held}"


def test_two_gateways_share_the_keys_of_one_folder(tmp_path):
    from src.serve.access.keys import Keys
    from src.serve.access.settings import Access

    access = Access.model_validate({"roles": {"user": {}}, "keys": str(tmp_path / "shared")})
    number = Keys(access.keys_at(tmp_path / "a")).create(name="ann", role="user", days=None)[0].id
    time.sleep(0.01)
    Keys(access.keys_at(tmp_path / "b")).revoke(number)
    assert Keys(access.keys_at(tmp_path / "a")).all()[0].state == "revoked"
