"""Figures with their intervals, differences, tags and gates, out of what the metrics found: all that the report shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from src.core.seeds import derive
from src.eval.bootstrap import Interval, difference, estimate, interval
from src.eval.cases import SUITE
from src.eval.gates import Gate, Verdict, above, below, worst
from src.eval.measure import BASE, TUNED, Finding, Measure, Row
from src.eval.significance import flips, holm, mcnemar, seen, signs

CONFIDENCE = 0.95


def results(findings: Iterable[Finding], gates: Sequence[Gate], seed: int) -> dict[str, Any]:
    """Figures as JSON: `metrics`, `missing`, `detail`, `gates` and `verdict` (`none` without a gate)."""
    findings = list(findings)
    measures = {measure.name: measure for finding in findings for measure in finding.measures}
    missing = {name: reason for finding in findings for name, reason in finding.missing.items()}
    figures = [_figure(measure, seed) for measure in measures.values()]
    _correct(figures)
    judged = [_gate(gate, measures.get(gate.metric), missing, seed) for gate in gates]
    return {
        "metrics": figures,
        "missing": missing,
        "detail": {key: value for finding in findings for key, value in finding.detail.items()},
        "gates": judged,
        "verdict": worst(each["verdict"] for each in judged) if judged else "none",
    }


def _figure(measure: Measure, seed: int) -> dict[str, Any]:
    sure = partial(interval, seed=derive(seed, measure.name), exponential=measure.exponential, figure=measure.figure)
    found = {model: sure(rows, confidence=CONFIDENCE) for model, rows in measure.rows.items()}
    any_model = next(iter(found.values()))
    figure: dict[str, Any] = {
        "name": measure.name,
        "better": "lower" if measure.lower_is_better else "higher",
        "rows": any_model.rows,
        "units": any_model.units,
        "unit": any_model.unit,
        "confidence": CONFIDENCE,
        "models": {model: _plain(each) for model, each in found.items()},
    }
    if measure.doubt:
        figure["doubt"] = measure.doubt
    figure["comparisons"] = [_comparison(measure, one, other, seed) for one, other in combinations(measure.rows, 2)]
    if main := next((each for each in figure["comparisons"] if (each["against"], each["model"]) == (BASE, subject(measure.rows))), None):
        figure["difference"] = {end: main[end] for end in ("value", "low", "high")}
        figure["sees"] = seen(main["low"], main["high"], confidence=CONFIDENCE)
    figure["tags"] = {tag: _tagged(measure, tag, seed) for tag in _tags(measure)}
    return figure


def subject(models: Iterable[str]) -> str:
    """The model that gates judge and the report is about: the tuned one, else the last."""
    names = list(models)
    return TUNED if TUNED in names else names[-1]


def _comparison(measure: Measure, one: str, other: str, seed: int) -> dict[str, Any]:
    """`other` against `one` on the same rows, with the p-value of the test that fits."""
    change = _change(measure, measure.rows, seed, before=one, after=other)
    counts = flips(measure.rows[one], measure.rows[other]) if measure.figure is None and change.unit == "row" else None
    if counts or change.p is None:  # where all rows change alike no resample differs: a sign test remains
        p, test = mcnemar(*(counts or signs(measure.rows[one], measure.rows[other]))), "McNemar, exact" if counts else "sign test"
    else:
        p, test = change.p, "paired bootstrap"
    return {"model": other, "against": one, **_plain(change), "p": p, "test": test, "flipped": counts, "lower": measure.lower_is_better}


def _correct(figures: list[dict[str, Any]]) -> None:
    """Correct each pair of models for as many figures as it is compared by, and say what remains."""
    families: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for number, figure in enumerate(figures):
        for each in figure["comparisons"]:
            families.setdefault((each["against"], each["model"]), {})[number] = each
    for family in families.values():
        for number, p in holm({number: each["p"] for number, each in family.items()}).items():
            each = family[number]
            each |= {"p": round(each["p"], 6), "p_holm": round(p, 6), "verdict": _direction(each, p, lower_is_better=each.pop("lower"))}
    for figure in figures:
        pair = next((each for each in figure["comparisons"] if (each["against"], each["model"]) == (BASE, subject(figure["models"]))), None)
        if pair:
            figure["verdict"] = pair["verdict"]


def _tagged(measure: Measure, tag: str, seed: int) -> dict[str, Any]:
    rows = {model: [row for row in each if tag in row.tags] for model, each in measure.rows.items()}
    found: dict[str, Any] = {"rows": len(next(iter(rows.values())))}
    found["models"] = {
        model: _finite(estimate(each, exponential=measure.exponential, figure=measure.figure)) for model, each in rows.items()
    }
    if BASE in rows and subject(rows) != BASE and all(rows.values()):
        found["difference"] = _plain(_change(measure, rows, seed))
    return found


def _tags(measure: Measure) -> list[str]:
    found = {tag for rows in measure.rows.values() for row in rows for tag in row.tags}
    return sorted(tag for tag in found if not tag.startswith(SUITE))  # whose figures stand by themselves


def _change(
    measure: Measure,
    rows: Mapping[str, list[Row]],
    seed: int,
    confidence: float = CONFIDENCE,
    *,
    before: str = BASE,
    after: str | None = None,
) -> Interval:
    seed = derive(seed, measure.name)
    settings = {"exponential": measure.exponential, "figure": measure.figure}
    return difference(rows[before], rows[after or subject(rows)], seed=seed, confidence=confidence, **settings)  # type: ignore[arg-type]


def _direction(change: Mapping[str, Any], p: float, *, lower_is_better: bool) -> str:
    if p >= 1 - CONFIDENCE or not change["value"]:
        return "no clear difference"
    return "better" if (change["value"] > 0) != lower_is_better else "worse"


def _gate(gate: Gate, measure: Measure | None, missing: Mapping[str, str], seed: int) -> dict[str, Any]:
    """A gate's verdict and why; a figure that could not be measured leaves it undecided."""
    told = gate.model_dump(mode="json", exclude_none=True)
    if measure is None:
        return {**told, "verdict": "undecided", "why": f"not measured: {missing.get(gate.metric, 'no such figure')}"}
    if measure.doubt:
        return {**told, "verdict": "undecided", "why": f"may not gate: {measure.doubt}"}
    verdicts: list[Verdict] = []
    reasons: list[str] = []
    judged = gate.model or subject(measure.rows)
    if judged not in measure.rows:
        return {**told, "verdict": "undecided", "why": f"not measured of {judged}"}
    rows = measure.rows[judged]
    value = interval(
        rows, seed=derive(seed, measure.name), confidence=gate.confidence, exponential=measure.exponential, figure=measure.figure
    )
    for bar, rule, word in ((gate.min, above, "at least"), (gate.max, below, "at most")):
        if bar is not None:
            verdicts.append(rule(value.low, value.high, bar))
            reasons.append(f"{_spelled(value)}, asked for {word} {bar:g}")
    if gate.min_delta is not None and gate.against not in measure.rows:
        verdicts.append("undecided")
        reasons.append(f"there is no {gate.against} model to compare with")
    elif gate.min_delta is not None and gate.against:
        change = _change(measure, measure.rows, seed, gate.confidence, before=gate.against, after=judged)
        low, high = (-change.high, -change.low) if measure.lower_is_better else (change.low, change.high)
        verdicts.append(above(low, high, gate.min_delta))
        word = "lower" if measure.lower_is_better else "higher"
        reasons.append(f"{_spelled(change)} against {gate.against}, asked for at least {gate.min_delta:g} {word}")
    return {**told, "verdict": worst(verdicts), "why": "; ".join(reasons)}


def _spelled(found: Interval) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _plain(found: Interval) -> dict[str, float | None]:
    """An interval for JSON, which has no infinity: an open end is null."""
    return {"value": _finite(found.value), "low": _finite(found.low), "high": _finite(found.high)}


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
