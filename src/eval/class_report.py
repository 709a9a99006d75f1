"""What the report says of a classifier, class by class."""

from collections.abc import Iterator, Mapping
from typing import Any


def class_tables(found: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, header and lines of each table: figures by class, and which is taken for which."""
    detail = found["detail"].get("classification")
    if not detail:
        return
    lines = [
        [label, f"{each['precision']:.3f}", f"{each['recall']:.3f}", _ranged(each), str(each["rows"])]
        for label, each in detail["classes"].items()
    ]
    yield "By class", ["class", "precision", "recall", "F1", "rows"], lines
    labels = detail["labels"]
    matrix = [[label, *map(str, counts)] for label, counts in zip(labels, detail["confusion"], strict=True)]
    yield "Which is taken for which (true classes down, predicted ones across)", ["", *labels], matrix


def _ranged(each: Mapping[str, float]) -> str:
    return f"{each['f1']:.3f} [{each['f1_low']:.3f}, {each['f1_high']:.3f}]"
