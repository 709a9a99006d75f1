"""Compare `tool_calls.ast` with the checker of the Berkeley leaderboard (bfcl-eval) on thousands of mutated answers.

    uv venv --python 3.11 /tmp/bfcl
    uv pip install --python /tmp/bfcl/bin/python bfcl-eval==2026.3.23 soundfile   # pins numpy 1.26.4, so in an environment of its own
    python python_script/check_bfcl.py ../shared/data/bfcl /tmp/bfcl/bin/python

Every question of `simple_python` and `multiple` gives its accepted answers and mutations of them, drawn by a seed; a difference is
listed under the reason why it is meant, or under `unexplained`, which ends the script with exit code 1.
"""

import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from src.eval.accepted import mismatch

PEER = """
import json, sys
from bfcl_eval.constants.enums import Language
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
for line in sys.stdin:
    tools, calls, wanted, part = json.loads(line)
    try:
        made = [{call["name"]: call["arguments"]} for call in calls]
        said = ast_checker(tools, made, wanted, Language.PYTHON, part, "gorilla-openfunctions-v2")
        print(json.dumps([bool(said["valid"]), str(said.get("error_type", ""))]))
    except Exception as error:
        print(json.dumps([None, repr(error)]))
"""
Call = dict[str, Any]


def plain(value: Any) -> Any:
    """A value as a model would give it, out of the leaderboard's alternatives."""
    if isinstance(value, dict):
        return {key: plain(values[0]) for key, values in value.items() if values[0] != ""}
    return [plain(each) for each in value] if isinstance(value, list) else value


def drawn(wanted: dict[str, list[Any]], chance: random.Random) -> dict[str, Any]:
    """Accepted arguments, those that may be left out sometimes left out."""
    found = {}
    for key, values in wanted.items():
        real = [value for value in values if value != ""]
        if real and ("" not in values or chance.random() < 0.6):
            found[key] = plain(chance.choice(real))
    return found


def mutated(value: Any, chance: random.Random) -> Any:
    """Another value, near or far, of this type or another."""
    near: list[Any] = [None, "", [], {}, 0, 1, True, "1"]
    if isinstance(value, bool):
        near += [not value, int(value), str(value)]
    elif isinstance(value, int | float):
        near += [value + 1, -value, float(value), int(value), str(value), value == 1]
    elif isinstance(value, str):
        near += [value.upper(), value.replace(" ", ""), f" {value}.", value[:-1], f"{value}s", [value], value.replace("'", '"')]
    elif isinstance(value, list):
        near += [value[::-1], value[:-1], [*value, *value[:1]], [str(each) for each in value]]
        near += [[mutated(each, chance) for each in value], [int(each) if isinstance(each, float) else each for each in value]]
        near += [[float(each) if isinstance(each, int) else each for each in value], [each == 1 for each in value]]
    elif isinstance(value, dict):
        near += [dict(list(value.items())[:-1]), {**value, "more": 1}, {key: mutated(each, chance) for key, each in value.items()}]
    return chance.choice(near)


def mutation(name: str, arguments: dict[str, Any], properties: dict[str, Any], chance: random.Random) -> list[Call]:
    """Calls that are right, or wrong in one way."""
    given = dict(arguments)
    kind = chance.choice(["none", "value", "value", "value", "value", "drop", "extra", "offered", "name", "count"])
    if kind == "value" and given:
        key = chance.choice(list(given))
        given[key] = mutated(given[key], chance)
    elif kind == "drop" and given:
        del given[chance.choice(list(given))]
    elif kind == "extra":
        given["unasked_for"] = 1
    elif kind == "offered" and properties:
        key = chance.choice(list(properties))
        given[key] = properties[key].get("default", mutated("x", chance))
    call = {"name": name + "_x" if kind == "name" else name, "arguments": given}
    return chance.choice([[], [call, call]]) if kind == "count" and chance.random() < 0.5 else [call]


def parallel(name: str, wanted: dict[str, list[Any]], properties: dict[str, Any], chance: random.Random) -> tuple[list[Call], list[Any]]:
    """Two calls in any order, of which one may be accepted for either question."""
    narrow = {key: [chance.choice(values)] if values != [""] else values for key, values in wanted.items()}
    second = (
        mutation(name, drawn(narrow, chance), properties, chance)
        if chance.random() < 0.5
        else [{"name": name, "arguments": drawn(narrow, chance)}]
    )
    calls = [{"name": name, "arguments": drawn(wanted, chance)}, *second]
    chance.shuffle(calls)
    return calls, [{name: wanted}, {name: narrow}]


def reason(ours: bool, tools: list[Any], calls: list[Call], truth: list[Any]) -> str:
    """Why ours is another verdict than the leaderboard's, as far as it is meant."""
    if ours and len(calls) > 1:
        return "parallel calls are paired as well as can be, not each with the first that fits"
    function = next(tool for tool in tools if tool["name"] == calls[0]["name"])
    schemas = [function["parameters"]["properties"].get(key, {}) for key, value in calls[0]["arguments"].items() if isinstance(value, list)]
    if ours and any(schema.get("items", {}).get("type") == "float" for schema in schemas):
        return "a whole number in a list of floats is a float, as it is outside of one"
    left_out = [key for key in truth[0][calls[0]["name"]] if key not in calls[0]["arguments"]]
    if ours and any("default" in function["parameters"]["properties"][key] for key in left_out):
        return "an argument left out is the same as one given at the schema's default"
    return "unexplained"


def main(folder: Path, peer: str, each: int = 20, seed: int = 1) -> int:
    """Ask both about the same answers, and print where they differ."""
    chance, asked = random.Random(seed), []
    for part in ("simple_python", "multiple"):
        questions = {row["id"]: row for row in map(json.loads, (folder / f"BFCL_v4_{part}.json").open())}
        for row in map(json.loads, (folder / f"possible_answer/BFCL_v4_{part}.json").open()):
            tools = questions[row["id"]]["function"]
            [(name, wanted)] = row["ground_truth"][0].items()
            properties = next(tool for tool in tools if tool["name"] == name)["parameters"]["properties"]
            for _ in range(each):
                calls = mutation(name, drawn(wanted, chance), properties, chance)
                asked.append((tools, calls, row["ground_truth"], part.replace("_python", "")))
            asked.append((tools, *parallel(name, wanted, properties, chance), "parallel"))
    lines = "".join(json.dumps(each) + "\n" for each in asked)
    said = subprocess.run([peer, "-c", PEER], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    verdicts: Counter[str] = Counter()
    differences: defaultdict[str, list[Any]] = defaultdict(list)
    for (tools, calls, wanted, _), line in zip(asked, said, strict=True):
        theirs, why = json.loads(line)
        fault = mismatch(wanted, calls, tools)
        verdicts[
            "both right"
            if not fault and theirs
            else "both wrong"
            if fault and theirs is False
            else "differ"
            if theirs is not None
            else "peer fails"
        ] += 1
        if theirs is not None and theirs != (not fault):
            differences[reason(not fault, tools, calls, wanted)].append((calls, wanted, fault, why))
    print(f"{len(asked)} answers: {dict(verdicts)}")
    for why, found in sorted(differences.items()):
        print(f"\n{len(found)} differ: {why}")
        for calls, wanted, fault, theirs_why in found[:3]:
            print(
                f"  {json.dumps(calls)[:300]}\n    accepted {json.dumps(wanted)[:300]}\n    ours: {fault or 'right'}; theirs: {theirs_why}"
            )
    return int("unexplained" in differences)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
