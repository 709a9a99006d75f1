"""The report a person reads: what changed, how sure that is, where it went wrong, and how it was measured."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from src.core.grid import grid
from src.eval.class_report import class_tables
from src.eval.measure import BASE, TUNED

FEWEST = 5  # rows of a tag that are shown; a share of fewer says nothing
_MARKS = {"pass": "PASS", "fail": "FAIL", "undecided": "UNDECIDED"}

Found = Mapping[str, Any]


def summary_table(metrics: Found) -> str:
    """The figures as plain text for the terminal: base, tuned and difference with their intervals, then the gates."""
    rows = [[figure["name"], *_cells(figure)] for figure in metrics["metrics"]]
    rows += [[name, "not measured", "", "", reason] for name, reason in metrics["missing"].items()]
    text = grid(rows, ["metric", "base", "tuned", "difference", "verdict"], right=(1, 2, 3))
    gates = [f"gate {gate['verdict']}: {gate['metric']}: {gate['why']}" for gate in metrics["gates"]]
    return "\n".join([text, *gates])


def markdown(metrics: Found, name: str, plots: Sequence[str]) -> str:
    """The whole report, with the file names of plots that lie beside it."""
    parts = [f"# {name}: evaluation\n", _summary(metrics), *_gates(metrics), *(f"![{plot}]({plot})\n" for plot in plots)]
    parts += [*_classes(metrics), *_tags(metrics), *_style(metrics), *_samples(metrics), _method(metrics)]
    return "\n".join(parts)


def _summary(metrics: Found) -> str:
    rows = [[figure["name"], *_cells(figure), f"{figure['rows']}"] for figure in metrics["metrics"]]
    text = _table(["metric", "base", "tuned", "difference", "verdict", "rows"], rows)
    notes = [f"- `{name}` is not measured: {reason}." for name, reason in metrics["missing"].items()]
    notes += [f"- `{figure['name']}` decides no gate: {figure['doubt']}." for figure in metrics["metrics"] if figure.get("doubt")]
    return "\n".join([text, *notes, ""])


def _cells(figure: Found) -> list[str]:
    models = [_spelled(figure["models"].get(model)) for model in (BASE, TUNED)]
    return [*models, _spelled(figure.get("difference"), sign="+"), figure.get("verdict", "")]


def _spelled(found: Mapping[str, float | None] | None, sign: str = "") -> str:
    """`0.81 [0.74, 0.87]`; an open end is `∞`."""
    if found is None:
        return ""
    return f"{_number(found['value'], sign)} [{_number(found['low'], sign)}, {_number(found['high'], sign)}]"


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "∞"
    return f"{value:{sign}.4g}" if abs(value) >= 10 else f"{value:{sign}.3f}"


def _gates(metrics: Found) -> Iterator[str]:
    if metrics["gates"]:
        yield f"## Gates: {_MARKS[metrics['verdict']]}\n"
        yield _table(["metric", "verdict", "why"], [[gate["metric"], _MARKS[gate["verdict"]], gate["why"]] for gate in metrics["gates"]])


def _tags(metrics: Found) -> Iterator[str]:
    """One table for each metric: a row a tag, a column a figure."""
    families: dict[str, list[Found]] = {}
    for figure in metrics["metrics"]:
        families.setdefault(figure["name"].split(".")[0], []).append(figure)
    tables = [table for figures in families.values() if (table := _tag_table(figures))]
    if tables:
        yield "## By tag\n"
        yield "Base → tuned (rows); bold where the interval of the difference leaves out zero.\n"
        yield from tables


def _tag_table(figures: Sequence[Found]) -> str:
    tags = sorted({tag for figure in figures for tag, found in figure["tags"].items() if found["rows"] >= FEWEST})
    rows = [[_escaped(tag), *(_tag_cell(figure["tags"].get(tag)) for figure in figures)] for tag in tags]
    return _lines(["tag", *(figure["name"] for figure in figures)], rows) if rows else ""


def _tag_cell(found: Found | None) -> str:
    if found is None or found["rows"] < FEWEST:
        return ""
    text = f"{' → '.join(_number(value) for value in found['models'].values())} ({found['rows']})"
    low, high = (found.get("difference", {}).get(end) for end in ("low", "high"))
    return f"**{text}**" if low is not None and high is not None and not low <= 0 <= high else text


def _classes(metrics: Found) -> Iterator[str]:
    for title, header, lines in class_tables(metrics):
        yield f"## {title}\n"
        yield _table(header, lines)


def _style(metrics: Found) -> Iterator[str]:
    detail = metrics["detail"]
    if "confusion" not in detail:
        return
    held = "whole documents held out" if detail["grouped_by_source"] else "pieces held out, since a voice has but one document"
    yield "## The style judge\n"
    yield (
        f"Tested in {detail['folds']} folds with {held}: accuracy {detail['accuracy']:.3f}, balanced {detail['balanced_accuracy']:.3f}, "
        f"F1 {detail['f1']:.3f}, ROC-AUC {detail['roc_auc']:.3f}, on {detail['pieces']['persona']} pieces in the persona's voice from "
        f"{detail['documents']['persona']} documents and {detail['pieces']['other']} others from {detail['documents']['other']}."
    )
    yield (
        f"Its bar of {detail['bar']:.2f} lets {detail['above_bar']['persona']:.1%} of the persona's unseen pieces through, "
        f"and {detail['above_bar']['other']:.1%} of the others."
    )
    if "reference" in detail:
        yield f"It gives {detail['reference']:.1%} of the reference answers to the persona: more can hardly be asked of a model."
    yield ""


def _samples(metrics: Found) -> Iterator[str]:
    if not metrics["examples"]:
        return
    yield "## Where it went wrong\n"
    yield "The tuned model's worst rows for each figure.\n"
    for each in metrics["examples"]:
        yield f"### {each['metric']}: {each['id']}\n\n{_escaped(each['why'])}\n"
        yield from (f"{title}:\n\n{_fenced(each[title])}\n" for title in ("prompt", "expected", "got"))


def _method(metrics: Found) -> str:
    settings = metrics["settings"]
    lines = ["## How it was measured\n", *(f"- {key}: {'all' if value is None else value}" for key, value in settings.items())]
    lines += [
        "- The base names each class with its share among the training rows: what a model must beat."
        if "classification" in metrics["detail"]
        else "- Both models answer the same rows with the same tokens; the base is the model before it was tuned.",
        "- Intervals: percentile bootstrap of 2,000 resamples at 95 %, differences paired (Efron & Tibshirani 1993; Koehn 2004); "
        "where no row differs from another, Wilson's and Newcombe's.",
    ]
    for figure in metrics["metrics"]:
        unit = "documents, drawn whole" if figure["unit"] == "source" else "rows, each drawn alone"
        lines.append(f"- {figure['name']}: {figure['rows']} rows, intervals over {figure['units']} {unit}.")
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return _lines(header, [[_escaped(cell) for cell in row] for row in rows])


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows]) + "\n"


def _escaped(text: str) -> str:
    """Text from a model or a tool, made harmless for a line of Markdown."""
    return re.sub(r"([\\`*<>|])", r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
