"""What must stay true of the whole house."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import src
from src import STAGES, pipeline
from src.cli import application
from src.core.config import Config

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path for path in (ROOT / "config").glob("*.yaml") if not path.name.startswith("local_"))
HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "vllm",
    "polars",
    "datasets",
    "fastapi",
    "openai",
    "numpy",
    "sklearn",
    "matplotlib",
    "aiohttp",
    "rich",
}
SOURCES = sorted((ROOT / "src").rglob("*.py"))


PROBE = """
import sys
sys.argv = ["mlx", *sys.argv[1:]]
from src.cli import main
try:
    main()
except SystemExit:
    pass
print("LOADED", *sys.modules)
"""


def mlx(*arguments):
    """What the command prints, and the top-level modules that it loaded."""
    done = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    text, _, loaded = done.stdout.rpartition("LOADED")
    return text, set(loaded.split())


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("status", "config/quickstart.yaml"),
        ("config", "show", "config/quickstart.yaml"),
        ("config", "schema"),
        ("train", "--help"),
        ("run", "config/quickstart.yaml", "--dry-run"),
    ],
)
def test_the_command_starts_light(command):
    assert not HEAVY & mlx(*command)[1]


def test_help_needs_no_pydantic():
    code = "import sys; from src.cli import application; application(['--help']); print('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_help_groups_every_command():
    text, _ = mlx("--help")
    names = {command.name or command.callback.__name__ for command in application([]).registered_commands}
    assert all(re.search(rf"^    ?{name} ", text, re.M) for name in names), text
    assert all(len(line) > 20 for name in STAGES for line in text.splitlines() if line.strip().startswith(f"{name} "))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    bring = ("scrape.sources.0.path=config/quickstart/corpus",) if config.stem in ("sentiment", "finbert") else ()  # tweets are the user's
    project = pipeline.load_project(config.relative_to(ROOT), bring)
    assert pipeline.chain(project, until="serve")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_names_the_schema_for_editors(config):
    assert config.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_schema_for_editors_is_that_of_the_code():
    assert json.loads((ROOT / "config/schema.json").read_text()) == pipeline.schema(), "run bash_script/fix"


def fields():
    models = list(Config.__subclasses__())
    for model in models:
        models += model.__subclasses__()
    for model in models:
        if getattr(sys.modules[model.__module__], model.__name__, None) is model and model.__module__.startswith("src."):
            yield from ((model, name, field) for name, field in model.model_fields.items())


def test_every_config_field_has_a_word_of_help():
    for name in STAGES:
        pipeline.stage(name)
    bare = [
        f"{model.__module__}.{model.__name__}.{name}"
        for model, name, field in fields()
        if not field.description
        and name != "type"
        and not hasattr(field.annotation, "model_fields")
        and model.__module__ not in ("src.core.manifest", "src.models.trained", "src.models.classifier")
    ]
    assert not bare


def test_every_stage_is_a_folder_with_a_stage_of_its_name():
    for name in STAGES:
        stage = pipeline.stage(name)
        assert stage.name == name
        assert (ROOT / "src" / name / "__init__.py").read_text().startswith('"""')


def test_files_and_functions_stay_small():
    long = [f"{path}: {len(path.read_text().splitlines())} lines" for path in SOURCES if len(path.read_text().splitlines()) > 350]
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 80:
                long.append(f"{path}:{node.lineno}: {node.name}")
    assert not long


def test_the_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    used = set(re.findall(r"\bmlx ([a-z]+)", text))
    app = application([])
    known = {command.name or command.callback.__name__ for command in app.registered_commands} | {
        group.typer_instance.info.name for group in app.registered_groups
    }
    assert used - {"in", "beside"} <= known
    assert all(
        (ROOT / path).exists()
        for path in re.findall(r"\b(?:bash_script|python_script|notebook|config|memory_bank)/[\w.-]+\w", text)
        if "my-project" not in path and "local_" not in path
    )


def test_a_package_of_this_name_is_importable_where_git_made_a_file_of_the_link(tmp_path):
    (tmp_path / "src").write_text("../src")
    code = "import src.core.config; print(src.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert Path(found.stdout.strip()).parent.samefile(Path(src.__file__).parent)


@pytest.mark.parametrize("link", ["notebook/src", "python_script/src"])
def test_the_links_lead_to_the_package(link):
    path = ROOT / link
    assert path.is_symlink() is False or path.resolve() == (ROOT / "src").resolve()


def test_the_floors_hold():
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    done = subprocess.run([str(tool)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
