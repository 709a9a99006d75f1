"""The line under a config's field, as its help: each source file is read once, not once a class, at every start."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path


def fieldhelp(model: type) -> dict[str, str]:
    """The strings under the fields of a class, by field; none where its source is not at hand."""
    file = getattr(sys.modules.get(model.__module__), "__file__", None)
    return _classes(file).get(model.__qualname__, {}) if file else {}


@cache
def _classes(file: str) -> dict[str, dict[str, str]]:
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError):
        return {}
    return dict(_found(tree.body, ""))


def _found(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, dict(_strings(node.body))
            yield from _found(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield from _found(node.body, f"{prefix}{node.name}.<locals>.")


def _strings(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            yield field.target.id, cleandoc(text.value.value)
