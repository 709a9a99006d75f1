"""The formats in which others keep pairs of answers, one preferred to the other, read into prompt, chosen and rejected."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from src.build.formats import Message, Row, Unreadable, from_openai, from_sharegpt, tools_of, with_call_ids

_PAIRS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"), ("preferred_output", "non_preferred_output"))
_PLAIN = ("response_j", "response_k")


def preference(row: Row) -> tuple[list[Message], list[Message], list[Message], list[dict[str, Any]]]:
    """Return prompt, chosen answer, rejected answer and tools of a row.

    Understood are pairs of strings, messages or whole conversations under `chosen` and `rejected`, with the prompt as a
    string, messages, ShareGPT turns or Alpaca's `instruction` and `input`; LLaMA-Factory's `…_messages`; OpenAI's `input`,
    `preferred_output` and `non_preferred_output`; `messages` with a `rejected_response`.

    Raises:
        Unreadable: Where its format is unknown, or what it holds is broken.
    """
    given = row["input"] if isinstance(row.get("input"), Mapping) else row
    tools = tools_of(given.get("tools"))
    before = _prompt(given, row)
    chosen, rejected = (_answer(side, which) for which, side in _sides(row).items())
    if len(chosen) > 1 and len(rejected) > 1 and not before:
        before = _shared(chosen, rejected)
    chosen, rejected = (answer[len(before) :] if answer[: len(before)] == before else answer for answer in (chosen, rejected))
    _look(before, chosen, rejected)
    whole = with_call_ids([*before, *chosen])
    other = with_call_ids(deepcopy([*before, *rejected]))
    return whole[: len(before)], whole[len(before) :], other[len(before) :], tools


def _sides(row: Row) -> dict[str, Any]:
    if isinstance(row.get("messages"), list) and row["messages"] and "rejected_response" in row:
        return {"chosen": [row["messages"][-1]], "rejected": row["rejected_response"]}
    for chosen, rejected in (*_PAIRS, _PLAIN):
        if chosen in row or rejected in row:
            for name, reason in ((chosen, "no_chosen"), (rejected, "no_rejected")):
                if not row.get(name):
                    raise Unreadable(reason, f"{name} is {row.get(name)!r}")
            return {"chosen": row[chosen], "rejected": row[rejected]}
    raise Unreadable("no_preference_pair", f"keys: {', '.join(map(str, row))[:200] or 'none'}")


def _prompt(given: Row, row: Row) -> list[Message]:
    """What both answers answer."""
    turns: list[Message] = []
    if isinstance(found := given.get("messages"), list):
        turns = from_openai(found[:-1] if "rejected_response" in row else found)
    elif isinstance(found := given.get("conversations"), list):
        turns = from_sharegpt(found)
    elif isinstance(found := given.get("prompt"), list):
        turns = from_openai(found)
    elif asked := next((given[key] for key in ("prompt", "instruction", "question") if isinstance(given.get(key), str)), ""):
        more = given.get("input")
        turns = [{"role": "user", "content": f"{asked}\n\n{more}" if isinstance(more, str) and more.strip() else asked}]
    system = given.get("system")
    if isinstance(system, str) and system.strip() and (not turns or turns[0]["role"] != "system"):
        turns.insert(0, {"role": "system", "content": system})
    return turns


def _answer(side: Any, which: str) -> list[Message]:
    """One side of a pair as messages."""
    if isinstance(side, str):
        return [{"role": "assistant", "content": side}]
    if isinstance(side, Mapping):
        side = [side]
    if not isinstance(side, list) or not all(isinstance(turn, Mapping) for turn in side):
        raise Unreadable("bad_message", f"{which} is {type(side).__name__}, no text and no messages")
    return from_sharegpt(side) if side and "from" in side[0] else from_openai(side)


def _shared(chosen: list[Message], rejected: list[Message]) -> list[Message]:
    """The turns that two whole conversations have in common, up to the last user's at most."""
    last = max((n for n, message in enumerate(chosen) if message["role"] in ("user", "tool")), default=-1)
    if chosen[: last + 1] != rejected[: last + 1]:
        raise Unreadable("prompts_differ", "chosen and rejected answer different prompts")
    return chosen[: last + 1]


def _look(before: list[Message], chosen: list[Message], rejected: list[Message]) -> None:
    """Fail on a pair that cannot be learned from."""
    if not before:
        raise Unreadable("no_prompt", "nothing stands before the two answers")
    for which, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer or answer[-1]["role"] != "assistant":
            raise Unreadable(f"{which}_not_assistant", f"ends with {answer[-1]['role']!r}" if answer else "no turn of its own")
        if not (answer[-1].get("content") or "").strip() and not answer[-1].get("tool_calls"):
            raise Unreadable("empty_message", f"the {which} answer is empty")
    if chosen == rejected:
        raise Unreadable("same_answers", "chosen and rejected are equal")
