import pytest
import yaml

from src.core.errors import ConfigError
from src.core.layers import Layers, Loader, assign, compose, merge


def layered(tmp_path, text, *overrides):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    layers = Layers()
    layers.add_file(file)
    for each in overrides:
        layers.add_override(each)
    return layers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("1.", 1.0),
        (".5", 0.5),
        ("010", 10),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("2026-11-20", "2026-11-20"),
        ("~", None),
        ("1:30", "1:30"),
        (".inf", float("inf")),
        ("-7", -7),
        ("", None),
        ("1_000", "1_000"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert yaml.load(text, Loader) == value


def test_yaml_makes_no_python_objects():
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.system [true]", Loader)


def test_dicts_melt_unless_the_type_changes():
    low = {"a": {"type": "x", "n": 1}, "b": {"k": 1, "l": 2}, "c": [1, 2]}
    merge(low, {"a": {"type": "y"}, "b": {"k": 3}, "c": [9]})
    assert low == {"a": {"type": "y"}, "b": {"k": 3, "l": 2}, "c": [9]}


def test_an_override_reaches_into_list_items_and_makes_dicts():
    values = {"sources": [{"n": 1}, {"n": 2}]}
    assign(values, ("sources", 1, "n"), 5)
    assign(values, ("new", "deep"), 1)
    assign(values, ("classes", 7), "seven")
    assert values == {"sources": [{"n": 1}, {"n": 5}], "new": {"deep": 1}, "classes": {"7": "seven"}}


def test_every_key_knows_its_line_and_who_came_last(tmp_path):
    layers = layered(tmp_path, "a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "a.b=3")
    assert layers.origin(("a", "b")) == "command line"
    assert layers.origin(("a", "c", 1, "d")).endswith("x.yaml:5")
    assert layers.origin(("z",)) == "default"


@pytest.mark.parametrize("text", ["lora.r", "=3", "a..b=1", ".a=2"])
def test_what_is_no_key_value_is_said(tmp_path, text):
    assert "is not KEY=VALUE" in str(layered(tmp_path, "a: 1\n", text).faults[0])


def test_an_override_that_is_no_yaml_or_hits_no_item_is_said(tmp_path):
    faults = layered(tmp_path, "a: [1]\n", "a=[", "a.4.x=1").faults
    assert ["is not YAML" in str(faults[0]), "no such list item" in str(faults[1])] == [True, True]


@pytest.mark.parametrize(
    ("content", "says"), [(b"a: [1\n", "x.yaml:2: not YAML"), (b"\xff\xfe\x00", "cannot be read"), (b"a: \x01\n", "x.yaml:1: not YAML")]
)
def test_a_broken_file_names_file_and_line(tmp_path, content, says):
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        compose(file)


def test_a_missing_file_suggests_a_near_one(tmp_path):
    (tmp_path / "main.yaml").touch()
    with pytest.raises(ConfigError, match=r"man.yaml: no such file; did you mean '.*main.yaml'"):
        compose(tmp_path / "man.yaml")


def test_a_folder_in_place_of_a_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        compose(tmp_path)


def test_a_file_that_is_no_mapping_is_said(tmp_path):
    assert str(layered(tmp_path, "- 1\n").faults[0]).endswith("a config is a mapping of keys to values")


def test_an_empty_file_is_an_empty_layer(tmp_path):
    assert layered(tmp_path, "").values == {}
