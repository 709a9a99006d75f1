"""The report a person reads: what changed, how sure that is, where it went wrong, and how it was measured."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.core.grid import grid
from src.eval.blocks import Banner, Block, Bold, Bullets, Fold, Heading, Picture, Prose, Table, Verbatim
from src.eval.class_report import class_tables
from src.eval.style_report import style_blocks

FEWEST = 5  # rows of a tag that are shown; a share of fewer says nothing
_MARKS = {"pass": "PASS", "fail": "FAIL", "undecided": "UNDECIDED"}
_CAPTIONS = {
    "figures.png": "Every figure of every model, with its 95 % interval.",
    "style_judge.png": "The judges of style on documents they had not seen, before they judged a model.",
    "confusion.png": "Which class is taken for which, and whether the classifier is right as often as it is sure.",
    "lengths.png": "How long the answers in words are.",
}

Found = Mapping[str, Any]


def summary_table(metrics: Found) -> str:
    """The figures as plain text for the terminal: base, tuned and difference with their intervals, then the gates."""
    models = model_names(metrics)
    rows = [[figure["name"], *_cells(figure, models)] for figure in metrics["metrics"]]
    rows += [[name, "not measured", *[""] * len(models), reason] for name, reason in metrics["missing"].items()]
    text = grid(rows, ["metric", *models, "difference", "verdict"], right=range(1, len(models) + 2))
    gates = [f"gate {gate['verdict']}: {gate['metric']}: {gate['why']}" for gate in metrics["gates"]]
    return "\n".join([text, *gates])


def blocks(metrics: Found, name: str, plots: Sequence[str]) -> Iterator[Block]:
    """The whole report, with the file names of plots that lie beside it."""
    yield Heading(f"{name}: evaluation", 1)
    yield Banner(_MARKS.get(metrics["verdict"], "NO GATES"), _about(metrics))
    yield from _gates(metrics)
    yield from _summary(metrics)
    yield from (Picture(file, _CAPTIONS.get(file, file)) for file in plots)
    for part in (_comparisons, _classes, _tags, _style, _seen, _samples, _method):
        yield from part(metrics)


def _about(metrics: Found) -> str:
    """Who was compared on what, and how many gates were passed."""
    settings, gates = metrics["settings"], metrics["gates"]
    passed = sum(gate["verdict"] == "pass" for gate in gates)
    rows = f"{settings.get('rows', 'all')} rows of the {settings.get('split', 'test')} split"
    bars = f"; {passed} of {len(gates)} gates passed" if gates else "; the config asks for no bar to be cleared"
    return f"{', '.join(model_names(metrics))} on {rows}{bars}."


def _summary(metrics: Found) -> Iterator[Block]:
    models = model_names(metrics)
    yield Heading("Figures")
    rows = [
        [figure["name"], *_cells(figure, models), _spelled_share(figure.get("sees")), f"{figure['rows']}"] for figure in metrics["metrics"]
    ]
    yield Table(["metric", *models, "difference", "verdict", "sees", "rows"], rows)
    notes = [f"`{name}` is not measured: {reason}." for name, reason in metrics["missing"].items()]
    notes += [f"`{figure['name']}` decides no gate: {figure['doubt']}." for figure in metrics["metrics"] if figure.get("doubt")]
    if any(figure.get("sees") for figure in metrics["metrics"]):
        notes.append("sees: the least true difference that these rows would show four times in five (power 80 %), from the spread found.")
    if power := metrics["settings"].get("power"):
        notes.append(f"Reckoned before a model was asked: {power}.")
    if notes:
        yield Bullets(notes)


def _spelled_share(value: float | None) -> str:
    return "" if value is None else f"±{_number(value)}"


def model_names(metrics: Found) -> list[str]:
    """All models that some figure has, in their order; `base` and `tuned` where there is no figure."""
    found = list(dict.fromkeys(model for figure in metrics["metrics"] for model in figure["models"]))
    return found or ["base", "tuned"]


def _cells(figure: Found, models: Sequence[str]) -> list[str]:
    values = [_spelled(figure["models"].get(model)) for model in models]
    return [*values, _spelled(figure.get("difference"), sign="+"), figure.get("verdict", "")]


def _spelled(found: Mapping[str, float | None] | None, sign: str = "") -> str:
    """`0.81 [0.74, 0.87]`; an open end is `∞`."""
    if found is None:
        return ""
    return f"{_number(found['value'], sign)} [{_number(found['low'], sign)}, {_number(found['high'], sign)}]"


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "∞"
    return f"{value:{sign}.4g}" if abs(value) >= 10 else f"{value:{sign}.3f}"


def _gates(metrics: Found) -> Iterator[Block]:
    if metrics["gates"]:
        yield Heading(f"Gates: {_MARKS[metrics['verdict']]}")
        yield Table(["metric", "verdict", "why"], [[gate["metric"], _MARKS[gate["verdict"]], gate["why"]] for gate in metrics["gates"]])


def _comparisons(metrics: Found) -> Iterator[Block]:
    """Every model against every other, with p-values corrected for the number of figures."""
    rows = [
        [figure["name"], f"{each['model']} against {each['against']}", _spelled(each, sign="+"), *_tested(each), each["verdict"]]
        for figure in metrics["metrics"]
        for each in figure.get("comparisons", ())
    ]
    if rows:
        yield Heading("Is it luck?")
        yield Table(["metric", "models", "difference", "only the one, only the other", "p", "p (Holm)", "test", "verdict"], rows)
        yield Prose("A verdict needs p (Holm) below 0.05: the p-values are corrected for as many figures as two models are compared by.")


def _tested(each: Found) -> list[str]:
    counts = each["flipped"]
    return [f"{counts[1]}, {counts[0]}" if counts else "", _chance(each["p"]), _chance(each["p_holm"]), each["test"]]


def _chance(p: float) -> str:
    return f"{p:.3g}" if p >= 1e-6 else "< 1e-6"


def _tags(metrics: Found) -> Iterator[Block]:
    """One table for each metric: a row a tag, a column a figure."""
    families: dict[str, list[Found]] = {}
    for figure in metrics["metrics"]:
        families.setdefault(figure["name"].split(".")[0], []).append(figure)
    tables = [table for figures in families.values() if (table := _tag_table(figures))]
    if tables:
        yield Heading("By tag")
        yield Prose(f"{' → '.join(model_names(metrics))} (rows); bold where the interval of the difference to the base leaves out zero.")
        yield from tables


def _tag_table(figures: Sequence[Found]) -> Table | None:
    tags = sorted({tag for figure in figures for tag, found in figure["tags"].items() if found["rows"] >= FEWEST})
    rows = [[tag, *(_tag_cell(figure["tags"].get(tag)) for figure in figures)] for tag in tags]
    return Table(["tag", *(figure["name"] for figure in figures)], rows) if rows else None


def _tag_cell(found: Found | None) -> str:
    if found is None or found["rows"] < FEWEST:
        return ""
    text = f"{' → '.join(_number(value) for value in found['models'].values())} ({found['rows']})"
    low, high = (found.get("difference", {}).get(end) for end in ("low", "high"))
    return Bold(text) if low is not None and high is not None and not low <= 0 <= high else text


def _classes(metrics: Found) -> Iterator[Block]:
    for title, header, lines in class_tables(metrics):
        yield Heading(title)
        yield Table(header, lines)


def _style(metrics: Found) -> Iterator[Block]:
    if detail := metrics["detail"].get("style"):
        yield Heading("The style judges")
        yield from style_blocks(detail)


def _seen(metrics: Found) -> Iterator[Block]:
    """How much of the test training had."""
    if found := metrics.get("contamination"):
        yield Heading("Was the test learned?")
        ways = ", ".join(f"{way} {count}" for way, count in found["ways"].items())
        yield Prose(f"Training has seen {found['found']} of {found['rows']} rows ({found['share']:.1%}){': ' + ways if ways else ''}.")
        if found["examples"]:
            yield Table(["row", "how", "where"], [[each["id"], each["how"], each["detail"]] for each in found["examples"]])


def _samples(metrics: Found) -> Iterator[Block]:
    if not metrics["examples"]:
        return
    yield Heading("Where it went wrong")
    yield Prose("The worst rows of the model that is judged, for each figure.")
    for each in metrics["examples"]:
        texts = [Verbatim(title, each[title]) for title in ("why", "prompt", "expected", "got", "base") if title in each]
        yield Fold(f"{each['metric']}: {each['id']}: {' '.join(each['why'].split())[:80]}", texts)


def _method(metrics: Found) -> Iterator[Block]:
    settings = metrics["settings"]
    yield Heading("How it was measured")
    lines = [
        *(f"{key}: {'all' if value is None else value}" for key, value in settings.items()),
        "The base names each class with its share among the training rows: what a model must beat."
        if "classification" in metrics["detail"]
        else "All models answer the same rows; base and tuned get the same tokens: the base is the model before it was tuned.",
        "Intervals: percentile bootstrap of 2,000 resamples at 95 %, differences paired (Efron & Tibshirani 1993; Koehn 2004); "
        "where no row differs from another, Wilson's and Newcombe's.",
    ]
    for figure in metrics["metrics"]:
        unit = "documents, drawn whole" if figure["unit"] == "source" else "rows, each drawn alone"
        lines.append(f"{figure['name']}: {figure['rows']} rows, intervals over {figure['units']} {unit}.")
    yield Bullets(lines)
