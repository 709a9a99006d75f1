"""Whether answers are JSON of the form asked for."""

import json
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator

from src.core.config import Config
from src.eval.answers import Judged, in_words, measured
from src.eval.calls import schema_fault
from src.eval.cases import Case
from src.eval.measure import Evidence, Finding

_FENCED = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```\Z", re.DOTALL)


def sound(form: dict[str, Any]) -> dict[str, Any]:
    """Fail on what is no JSON Schema."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        validator_for(form, default=Draft202012Validator).check_schema(form)
    except SchemaError as error:
        raise ValueError(f"is no JSON Schema: {error.json_path}: {error.message[:200]}") from None
    return form


class JsonSchema(Config):
    """Answers that are JSON and nothing else, a code fence aside, and that fit a JSON Schema: `json_schema.valid`, `json_schema.fits`.

    JSON Schema 2020-12 (json-schema.org), unless the schema names another draft; by the package jsonschema.
    """

    type: Literal["json_schema"] = "json_schema"
    form: Annotated[dict[str, Any], AfterValidator(sound)]
    """The JSON Schema; no reference is followed out of it."""
    tags: tuple[str, ...] = ()
    """Only rows with one of these tags; all plain answers where empty."""

    names: ClassVar[tuple[str, ...]] = ("json_schema.valid", "json_schema.fits")
    reads: ClassVar[str] = "answers"

    def score(self, evidence: Evidence) -> Finding:
        """Shares of answers."""
        asked = in_words(evidence, self.tags)
        if not asked:
            return Finding(missing=dict.fromkeys(self.names, "no held-out turn is an answer in words"))
        return Finding([measured(name, asked, evidence, judge) for name, judge in zip(self.names, (self._valid, self._fits), strict=True)])

    def _valid(self, case: Case, said: str) -> Judged:
        _, wrong = _value(said)
        return float(not wrong), 1.0, wrong

    def _fits(self, case: Case, said: str) -> Judged:
        value, wrong = _value(said)
        wrong = wrong or schema_fault(value, self.form)
        return float(not wrong), 1.0, wrong


def _value(said: str) -> tuple[Any, str]:
    """The JSON value that the whole answer is, or what is wrong with it."""
    text = said.strip()
    if fenced := _FENCED.match(text):
        text = fenced[1]
    try:
        return json.loads(text, parse_constant=_refused), ""
    except (ValueError, RecursionError) as error:
        return None, f"not JSON and nothing else: {error}"


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
