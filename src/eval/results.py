"""Figures with their intervals, differences, tags and gates, out of what the metrics found: all that the report shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from src.core.seeds import derive
from src.eval.bootstrap import Interval, difference, estimate, interval
from src.eval.gates import Gate, Verdict, above, below, worst
from src.eval.measure import BASE, TUNED, Finding, Measure, Row

CONFIDENCE = 0.95


def results(findings: Iterable[Finding], gates: Sequence[Gate], seed: int) -> dict[str, Any]:
    """Figures as JSON: `metrics`, `missing`, `detail`, `gates` and `verdict` (`none` without a gate)."""
    findings = list(findings)
    measures = {measure.name: measure for finding in findings for measure in finding.measures}
    missing = {name: reason for finding in findings for name, reason in finding.missing.items()}
    judged = [_gate(gate, measures.get(gate.metric), missing, seed) for gate in gates]
    return {
        "metrics": [_figure(measure, seed) for measure in measures.values()],
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
    if BASE in measure.rows and TUNED in measure.rows:
        change = _change(measure, measure.rows, seed)
        figure["difference"] = _plain(change)
        figure["verdict"] = _direction(change, measure.lower_is_better)
    figure["tags"] = {tag: _tagged(measure, tag, seed) for tag in _tags(measure)}
    return figure


def _tagged(measure: Measure, tag: str, seed: int) -> dict[str, Any]:
    rows = {model: [row for row in each if tag in row.tags] for model, each in measure.rows.items()}
    found: dict[str, Any] = {"rows": len(next(iter(rows.values())))}
    found["models"] = {
        model: _finite(estimate(each, exponential=measure.exponential, figure=measure.figure)) for model, each in rows.items()
    }
    if BASE in rows and TUNED in rows:
        found["difference"] = _plain(_change(measure, rows, seed))
    return found


def _tags(measure: Measure) -> list[str]:
    return sorted({tag for rows in measure.rows.values() for row in rows for tag in row.tags})


def _change(measure: Measure, rows: Mapping[str, list[Row]], seed: int, confidence: float = CONFIDENCE) -> Interval:
    seed = derive(seed, measure.name)
    return difference(rows[BASE], rows[TUNED], seed=seed, confidence=confidence, exponential=measure.exponential, figure=measure.figure)


def _direction(change: Interval, lower_is_better: bool) -> str:
    if change.low <= 0 <= change.high:
        return "no clear difference"
    return "better" if (change.low > 0) != lower_is_better else "worse"


def _gate(gate: Gate, measure: Measure | None, missing: Mapping[str, str], seed: int) -> dict[str, Any]:
    """A gate's verdict and why; a figure that could not be measured leaves it undecided."""
    told = gate.model_dump(mode="json", exclude_none=True)
    if measure is None:
        return {**told, "verdict": "undecided", "why": f"not measured: {missing.get(gate.metric, 'no such figure')}"}
    if measure.doubt:
        return {**told, "verdict": "undecided", "why": f"may not gate: {measure.doubt}"}
    verdicts: list[Verdict] = []
    reasons: list[str] = []
    rows = measure.rows[TUNED]
    value = interval(
        rows, seed=derive(seed, measure.name), confidence=gate.confidence, exponential=measure.exponential, figure=measure.figure
    )
    for bar, rule, word in ((gate.min, above, "at least"), (gate.max, below, "at most")):
        if bar is not None:
            verdicts.append(rule(value.low, value.high, bar))
            reasons.append(f"{_spelled(value)}, asked for {word} {bar:g}")
    if gate.min_delta is not None and BASE not in measure.rows:
        verdicts.append("undecided")
        reasons.append("there is no base model to compare with")
    elif gate.min_delta is not None:
        change = _change(measure, measure.rows, seed, gate.confidence)
        low, high = (-change.high, -change.low) if measure.lower_is_better else (change.low, change.high)
        verdicts.append(above(low, high, gate.min_delta))
        word = "lower" if measure.lower_is_better else "higher"
        reasons.append(f"{_spelled(change)} against the base, asked for at least {gate.min_delta:g} {word}")
    return {**told, "verdict": worst(verdicts), "why": "; ".join(reasons)}


def _spelled(found: Interval) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _plain(found: Interval) -> dict[str, float | None]:
    """An interval for JSON, which has no infinity: an open end is null."""
    return {"value": _finite(found.value), "low": _finite(found.low), "high": _finite(found.high)}


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
