from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from src.core.config import Config, Cosmetic, FromEnv, InputPath, essence
from src.core.errors import ConfigError
from src.core.project import load, project_model
from src.core.stage import StageConfig


class Files(Config):
    type: Literal["files"] = "files"
    path: InputPath
    """Where."""


class Web(Config):
    type: Literal["web"] = "web"
    depth: int = 2
    """How deep."""
    mode: Literal["fast", "slow"] = "fast"
    """How."""


class Scrape(StageConfig):
    """What scrape takes."""

    sources: tuple[Annotated[Files | Web, Field(discriminator="type")], ...] = (Web(),)
    """Where from."""
    rates: dict[str, float] = Field(default={})
    """Rates."""
    url: Annotated[str, FromEnv("OLLAMA_BASE_URL")] = "http://default"
    """Url."""
    workers: Annotated[int, Cosmetic()] = 1
    """Workers."""


STAGES = {"scrape": Scrape, "dedup": StageConfig}


def project(text, *overrides, file="config/p.yaml", **options):
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(text)
    return load(file, overrides, STAGES, **options)


def test_layers_lie_in_their_order(monkeypatch):
    Path("config").mkdir()
    Path("config/local_p.yaml").write_text("scrape: {sources: [{type: web, depth: 3}], url: http://local}\n")
    text = "name: p\nscrape: {sources: [{type: web, depth: 1}], workers: 2, url: http://file}\n"
    first = project(text).sections["scrape"]
    assert (first.sources[0].depth, first.workers, first.url) == (3, 2, "http://local")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://env")
    second = project(text)
    assert second.sections["scrape"].url == "http://env"
    assert second.layers.origin(("scrape", "url")) == "environment OLLAMA_BASE_URL"
    assert project(text, "scrape.url=http://cli").sections["scrape"].url == "http://cli"


def test_every_fault_comes_at_once_with_its_line():
    text = """name: Bad!
seeed: 3
scrape:
  sources:
    - {type: webb}
    - {type: files}
    - {type: web, dept: 2}
    - {type: web, mode: fats}
    - {type: files, path: nowhere.txt}
    - {depth: 2}
  rates: {a: high}
  worker: 2
  worker: 3
dedup: 7
"""
    with pytest.raises(ConfigError) as error:
        project(text, "scrape.max_drop=2", "oops")
    lines = str(error.value).splitlines()
    assert [line.split(": ", 1)[0] for line in lines if line.startswith("config")] == [
        f"config/p.yaml:{n}" for n in (1, 2, 5, 6, 7, 8, 9, 10, 11, 13, 14)
    ] + ["command line"] * 0 or lines
    expected = [
        "name: string should match pattern",
        "seeed: no such key; did you mean 'seed'?",
        "no type 'webb'; did you mean 'web'?",
        "scrape.sources.1.path: missing, and has no default",
        "dept: no such key; did you mean 'depth'?",
        "'fats' is no choice; did you mean 'fast'?",
        "'nowhere.txt' is not there",
        "says no `type`",
        "scrape.rates.a: should be a valid number",
        "worker: given twice",
        "worker: no such key; did you mean 'workers'?",
        "dedup: should be a valid mapping",
        "scrape.max_drop: should be less than or equal to 1",
        "'oops' is not KEY=VALUE",
    ]
    for each in expected:
        assert any(each in line for line in lines), (each, lines)


def test_missing_inputs_do_not_matter_where_nothing_runs():
    assert project("name: p\nscrape: {sources: [{type: files, path: nowhere}]}\n", check_inputs=False).sections["scrape"]


def test_secrets_have_no_key_to_stand_under():
    with pytest.raises(ConfigError, match="api_key: no such key"):
        project("name: p\nscrape: {api_key: sk-123}\n")


def test_a_stage_alone_overlooks_the_other_sections():
    found = project("name: p\nscrape:\nzzz: 1\n", whole=False)
    assert found.present == {"name", "scrape", "zzz"}
    assert list(found.sections) == ["scrape"]
    with pytest.raises(ConfigError, match="has no section `dedup:`"):
        found.section("dedup")


def test_values_never_change():
    section = project("name: p\nscrape: {}\n").sections["scrape"]
    with pytest.raises(Exception, match="frozen"):
        section.workers = 3


def test_cosmetic_fields_are_no_part_of_the_essence():
    a, b = Scrape(workers=1), Scrape(workers=9)
    assert essence(a) == essence(b) != essence(Scrape(url="x"))
    assert essence({"a": (Path("x"), {1})}) == {"a": ["x", [1]]}


def test_env_file_fills_what_the_environment_lacks(monkeypatch):
    Path(".env").write_text("OLLAMA_BASE_URL=http://dotenv\n")
    monkeypatch.setenv("OLLAMA_BASE_URL", "")
    monkeypatch.delenv("OLLAMA_BASE_URL")
    assert project("name: p\nscrape: {}\n").sections["scrape"].url == "http://dotenv"


def test_the_schema_knows_the_sections_and_their_help():
    schema = project_model(STAGES).model_json_schema()
    assert schema["properties"]["scrape"]["description"] == "What scrape takes."
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", [str, Annotated[str, Field(pattern="^[a-z]+$")]])
def test_below_a_name_of_ones_own_the_key_is_told_where_it_stands(name):
    class Named(StageConfig):
        """Parts by name."""

        parts: dict[name, Annotated[Files | Web, Field(discriminator="type")]] = Field(default={})
        """Parts."""

    Path("p.yaml").write_text("name: p\nscrape:\n  parts:\n    mine: {type: web, dept: 3}\n")
    with pytest.raises(ConfigError, match=r"^p\.yaml:4: scrape\.parts\.mine\.dept: no such key; did you mean 'depth'\?$"):
        load("p.yaml", (), {"scrape": Named})
