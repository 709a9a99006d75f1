"""How YAML, local YAML, environment variables and KEY=VALUE become one mapping, each value with its origin."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src.core.errors import ConfigError, did_you_mean

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a config."""

    where: str
    """`file:line`, `command line` or the environment variable."""
    key: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.what) if part)


@dataclass
class Layers:
    """The merged values, where each came from, and what was wrong on the way."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Keys, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add_file(self, file: Path) -> None:
        """Lay the mapping in `file` over what is there."""
        node = compose(file)
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            self.faults.append(Fault(f"{file}:1", "", "a config is a mapping of keys to values"))
            return
        for keys, line, twice in marks(node):
            where = f"{file}:{line}"
            self.origins[keys] = where
            if twice:
                self.faults.append(Fault(where, dotted(keys), "given twice"))
        try:
            merge(self.values, Loader("").construct_document(node))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self.faults.append(Fault(f"{file}:{line}", "", _problem(error)))

    def add_environment(self, variables: Mapping[Keys, str]) -> None:
        """Lay the set ones of `variables` (key path → environment variable) over what the files say; the command line stays above."""
        for keys, name in variables.items():
            typed = self.origin(keys) == "command line" and holds(self.values, keys)
            if (text := os.environ.get(name)) and not typed:
                assign(self.values, keys, text)
                self._mark(keys, text, f"environment {name}")

    def add_override(self, text: str) -> None:
        """Lay one `KEY=VALUE` over what is there."""
        name, equals, value = text.partition("=")
        keys: Keys = tuple(int(key) if key.isdigit() else key for key in name.strip().split("."))
        if not equals or not all(str(key) for key in keys):
            self.faults.append(Fault("command line", "", f"{text!r} is not KEY=VALUE, as in train.lora.r=16"))
            return
        try:
            found = yaml.load(value, Loader)  # noqa: S506 (a SafeLoader)
            assign(self.values, keys, found)
            self._mark(keys, found, "command line")
        except yaml.YAMLError as error:
            self.faults.append(Fault("command line", name, f"{value!r} is not YAML: {_problem(error)}"))
        except (IndexError, TypeError):
            self.faults.append(Fault("command line", name, "there is no such list item to set"))

    def _mark(self, keys: Keys, value: Any, where: str) -> None:
        """Note where a value came from, and forget the places of what it replaces."""
        self.origins[keys] = where
        if isinstance(value, dict):
            for key, each in value.items():
                self._mark((*keys, key), each, where)
        else:
            for inner in [each for each in self.origins if len(each) > len(keys) and each[: len(keys)] == keys]:
                del self.origins[inner]

    def origin(self, keys: Keys) -> str:
        """Where the value at `keys`, or what it lies in, was written."""
        return next((self.origins[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.origins), "default")

    def source(self, keys: Keys) -> str:
        """Where the value at `keys` came from: `default` where nobody wrote it."""
        return self.origin(keys) if holds(self.values, keys) else "default"


MOST_NODES = 100_000
"""Values that a config may have: more are no config, and take all the memory there is."""


class Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `no` and `on` are words, `2e-4` is a number, dates stay text."""


_SCALARS = {
    "bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"^[-+]?[0-9]+$", "-+0123456789"),
    "float": (r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf)$|^\.nan$", "-+.0123456789"),
    "null": (r"^(?:~|null|Null|NULL|)$", "~nN\0"),
}
Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), ["" if c == "\0" else c for c in _first])


def construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """Read `010` as ten: YAML 1.2 has no leading-zero octals."""
    return int(loader.construct_scalar(node))


def construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    """Read `2e-4`, which YAML 1.1 takes for text."""
    return float(str(loader.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))


Loader.add_constructor("tag:yaml.org,2002:int", construct_int)
Loader.add_constructor("tag:yaml.org,2002:float", construct_float)


def compose(file: Path) -> yaml.Node | None:
    """Parse `file` into YAML nodes, which know their lines."""
    try:
        node: yaml.Node | None = yaml.compose(file.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        folder = file.parent if file.parent.is_dir() else Path("config")
        known = [path.as_posix() for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("local_")]
        raise ConfigError(f"{file}: no such file{did_you_mean(file.as_posix(), known)}", hint="mlx init NAME makes a new one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}:{line}: not YAML: {_problem(error)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}:1: not YAML: {_problem(error)}") from None
    except RecursionError:
        raise ConfigError(f"{file}:1: nested too deep") from None
    if node and expanded(node, {}) > MOST_NODES:
        raise ConfigError(f"{file}:1: its aliases (*NAME) unfold without end, or to over {MOST_NODES:,} values")
    return node


def expanded(node: yaml.Node, known: dict[int, float]) -> float:
    """How many nodes there are once every alias is written out; infinity where one holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is counted: who meets it again meanwhile is inside it
        inner = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(expanded(each, known) for each in inner if isinstance(each, yaml.Node))
    return known[id(node)]


def marks(node: yaml.Node, above: Keys = ()) -> Iterator[tuple[Keys, int, bool]]:
    """Yield key path, line, and whether it is a repetition, of everything under `node`."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            yield (*above, key.value), key.start_mark.line + 1, key.value in seen
            seen.add(key.value)
            yield from marks(value, (*above, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*above, index), item.start_mark.line + 1, False
            yield from marks(item, (*above, index))


def merge(low: dict[str, Any], high: Mapping[str, Any]) -> None:
    """Lay `high` over `low`: dicts melt together unless `type` changes; everything else is replaced whole."""
    for key, value in high.items():
        below = low.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and value.get("type") in (None, below.get("type")):
            merge(below, value)
        else:
            low[key] = value


def assign(values: dict[str, Any], keys: Keys, value: Any) -> None:
    """Set the value at `keys`, through dicts and list items, making dicts where there are none."""
    here: Any = values
    for key, after in zip(keys, (*keys[1:], None), strict=True):
        if after is None:
            if isinstance(here, dict):
                merge(here, {str(key): value})
            else:
                here[key] = value
        elif isinstance(here, dict):
            if not isinstance(here.get(str(key)), dict | list):
                here[str(key)] = {}
            here = here[str(key)]
        else:
            here = here[key]


def holds(values: Any, keys: Keys) -> bool:
    """Whether there is a value at `keys`."""
    for key in keys:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def local(file: Path) -> Path:
    """The overlay that git ignores: `config/local_X.yaml` beside `config/X.yaml`."""
    return file.with_name(f"local_{file.name}")


def dotted(keys: Iterable[str | int]) -> str:
    """Spell a key path as on the command line."""
    return ".".join(map(str, keys))


def _problem(error: yaml.YAMLError) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())
