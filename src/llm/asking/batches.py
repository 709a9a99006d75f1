"""Several texts in one call: how they are listed, and which of the listed answers can be trusted."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from src.llm.asking.json_answer import value_of
from src.llm.asking.verdict import Unusable


def batch_words(value: Mapping[str, Any]) -> str:
    """Tell the model how several texts come, and how it is to answer."""
    shown = json.dumps(value, ensure_ascii=False)
    return (
        'The user sends a JSON list of texts, each as {"id": number, "text": text}. Judge each by itself, and answer with JSON and '
        'nothing else: {"answers": [{"id": number, "answer": answer}, …]}, one for each text, in their order. '
        f"An answer has this JSON Schema:\n{shown}"
    )


def batch_form(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of a list of answers; what the answers' own schema defines moves to the top, where its references look for it."""
    defined = {key: value[key] for key in ("$defs", "definitions") if key in value}
    inner = {key: each for key, each in value.items() if key not in (*defined, "$schema", "$id")}
    item = _object({"id": {"type": "integer"}, "answer": inner})
    return {**_object({"answers": {"type": "array", "items": item}}), **defined}


def _object(keys: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}


def listed(texts: Sequence[str]) -> str:
    """The texts as the model gets them."""
    return json.dumps([{"id": number, "text": text} for number, text in enumerate(texts, start=1)], ensure_ascii=False)


def unlisted(said: str, count: int) -> list[str | None]:
    """Each text's answer in words, or None where there is none to be trusted.

    An answer that is not the list asked for tells nothing of any text; an id that is none of ours, or comes twice, makes one doubt
    the order of all.
    """
    nothing: list[str | None] = [None] * count
    try:
        value = value_of(said)
    except Unusable:
        return nothing
    if isinstance(value, dict):
        value = value.get("answers")
    if not isinstance(value, list) or not all(isinstance(each, dict) and "answer" in each for each in value):
        return nothing
    ids = Counter(each.get("id") if type(each.get("id")) is int else None for each in value)
    if any(not isinstance(name, int) or not 1 <= name <= count or often > 1 for name, often in ids.items()):
        return nothing
    found = {each["id"]: each["answer"] for each in value}
    return [_words(found[number]) if number in found else None for number in range(1, count + 1)]


def _words(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
