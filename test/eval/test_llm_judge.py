"""A judge's verdicts become figures, faults of its server do not; and only one that agrees with people may gate."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from src.core.errors import MlxError
from src.core.files import write_jsonl
from src.eval.cases import Case
from src.eval.gates import Gate
from src.eval.llm_judge import LlmJudge
from src.eval.results import results
from src.llm.client import BackendError

TEST = Path(__file__).parents[1]
WIT = {"wit": {"asks": "Is it witty?", "scale": {1: "not at all", 5: "throughout"}}}


def _loaded(name, path):
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


scripted = _loaded("scripted_openai", TEST / "servers/scripted_openai.py")


def by_dots(text):
    """The more dots an answer has, the wittier it is."""
    asked = json.loads(text)
    if "answer" in asked:
        return {"reason": "dots", "score": min(5, 1 + asked["answer"].count("."))}
    dots = asked["second"].count(".") - asked["first"].count(".")
    return {"reason": "dots", "better": "second" if dots > 0 else "first" if dots < 0 else "tie"}


@pytest.fixture
def backend():
    """Serve a script of a judge: `script, backend = backend(throttled=0.2)`."""
    running = []

    def serve(answer=by_dots, **faults):
        script = scripted.Script(answer=answer, **faults)
        context = scripted.running(script)
        url = context.__enter__()
        running.append(context)
        return script, {"type": "openai", "model": "m", "base_url": url, "api_key_env": None, "timeout": 5}

    yield serve
    for each in running:
        each.__exit__(None, None, None)


def told(number):
    return [{"role": "user", "content": f"Question {number}?"}]


@pytest.fixture
def asked(evidence, tmp_path):
    """Evidence of twelve answers: the base's without a dot, the tuned model's with as many as its number, up to four."""
    from dataclasses import replace

    cases = [Case(f"q:{n}#1", f"q:{n}", f"q:{n}", (), told(n), [], {"content": "Yes."}) for n in range(12)]
    answers = {
        "base": {case.id: f"no {n}" for n, case in enumerate(cases)},
        "tuned": {case.id: f"well {n}" + "." * (n % 5) for n, case in enumerate(cases)},
    }
    return replace(evidence(cases, answers), cache=tmp_path / "cache")


@pytest.fixture
def people(tmp_path):
    def write(score, count=30):
        file = tmp_path / "people.jsonl"
        write_jsonl(file, [{"question": "Q?", "answer": f"{n} " + "." * (n % 5), "wit": score(n % 5)} for n in range(count)])
        return file

    return write


def test_scores_and_wins_and_what_is_kept(asked, backend):
    script, served = backend()
    metric = LlmJudge(backend=served, rubrics=WIT)
    assert metric.names == ("judge.wit", "judge.wit.wins")
    finding = metric.score(asked)
    scores, wins = finding.measures
    assert {row.id: row.value for row in scores.rows["tuned"]} == {f"q:{n}#1": 1 + n % 5 for n in range(12)}
    assert {row.value for row in scores.rows["base"]} == {1.0}
    assert {row.id: row.value for row in wins.rows["tuned"]} == {f"q:{n}#1": 1.0 if n % 5 else 0.5 for n in range(12)}
    assert scores.rows["tuned"][0].why.endswith(": dots") or scores.rows["tuned"][0].value == 5
    detail = finding.detail["judge"]["wit"]
    assert (detail["swap_consistency"], detail["calls"], detail["comparing"]["calls"]) == (1, 24, 24)
    assert "rubric" in script.asked[0]["messages"][0]["content"].lower()
    count = len(script.asked)
    again = metric.score(asked)
    assert len(script.asked) == count  # all had already
    assert again.measures == finding.measures


def test_a_verdict_that_follows_the_order_is_a_tie(asked, backend):
    def first(text):
        return {"reason": "it came first", "better": "first"} if "first" in json.loads(text) else {"reason": "", "score": 3}

    finding = LlmJudge(backend=backend(first)[1], rubrics=WIT).score(asked)
    wins = finding.measures[1].rows["tuned"]
    assert {(row.value, row.why) for row in wins} == {(0.5, "a tie: it depends on the order")}
    assert finding.detail["judge"]["wit"]["swap_consistency"] == 0


def test_faults_of_the_server_are_outlasted(asked, backend):
    whole = LlmJudge(backend=backend()[1], rubrics=WIT).score(asked)
    script, served = backend(throttled=0.3, broken=0.3, garbled=0.3, chatty=0.3, retry_after=0.01)
    found = LlmJudge(backend=served | {"model": "other"}, rubrics=WIT).score(asked)
    assert found.measures == whole.measures
    assert found.drops == []
    assert script.statuses[429] and script.statuses[500]


def test_what_gets_no_verdict_is_a_row_of_the_ledger(asked, backend):
    def odd(text):
        return {"reason": "", "score": 9} if "no 3" in text else by_dots(text)

    finding = LlmJudge(backend=backend(odd)[1], rubrics=WIT, compare=False).score(asked)
    assert [(drop.id, drop.reason) for drop in finding.drops] == [("q:3#1 judge.wit base", "judge_unparsable")]
    assert "score" in finding.drops[0].detail
    assert [len(rows) for rows in finding.measures[0].rows.values()] == [11, 11]  # the same rows of both
    nothing = LlmJudge(backend=backend(lambda text: {"so": "so"})[1] | {"model": "x"}, rubrics=WIT).score(asked)
    assert nothing.missing == dict.fromkeys(("judge.wit", "judge.wit.wins"), "the judge gave no usable verdict")
    assert len(nothing.drops) == 24 + 12


@pytest.mark.parametrize(
    ("score", "count", "why"),
    [
        (lambda n: 1 + n, 30, ""),
        (lambda n: 5 - n, 30, "its kappa with people is -1.00, and 0.4 is needed"),
        (lambda n: 1 + n, 10, "people scored only 10 answers"),
        (None, 0, "nobody has compared the judge with people"),
    ],
)
def test_only_a_judge_that_agrees_with_people_gates(asked, backend, people, score, count, why):
    metric = LlmJudge(backend=backend()[1], rubrics=WIT, people=people(score, count) if score else None)
    finding = metric.score(asked)
    gates = [Gate(metric="judge.wit", min=1), Gate(metric="judge.wit.wins", min=0.5)]
    found = results([finding], gates, 1)
    verdicts = {gate["verdict"] for gate in found["gates"]}
    assert verdicts == ({"undecided"} if why else {"pass"})
    assert all(why in gate["why"] for gate in found["gates"])
    agreement = finding.detail["judge"]["wit"]["agreement"]
    assert (agreement or {}).get("kappa") == {"": 1.0, "its": -1.0}.get(why.split(" ")[0])


def test_people_file_with_an_odd_score_is_named(asked, backend, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("question,answer,wit\nQ,A,4\nQ,B,\nQ,C,high\n")
    metric = LlmJudge(backend=backend()[1], rubrics=WIT, people=file)
    assert list(metric.files()) == [file]
    with pytest.raises(MlxError, match=r"people.csv:4: wit is no score"):
        metric.score(asked)


def test_without_a_key_it_is_not_measured_and_without_a_server_it_stops(asked, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    keyless = {"type": "openai", "model": "m", "base_url": "https://judge.invalid/v1", "api_key_env": "NO_SUCH_KEY"}
    finding = LlmJudge(backend=keyless, rubrics=WIT).score(asked)
    assert all("NO_SUCH_KEY is not set" in why for why in finding.missing.values())
    silent = {"type": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": None, "max_retries": 0}
    with pytest.raises(BackendError, match="cannot be reached"):
        LlmJudge(backend=silent, rubrics=WIT).score(asked)


def test_settings_that_make_no_sense(asked):
    scripted = {"type": "scripted"}
    with pytest.raises(ValidationError, match="all the same at temperature 0"):
        LlmJudge(backend=scripted, rubrics=WIT, votes=3)
    with pytest.raises(ValidationError, match="6 is no score from 1 to 5"):
        LlmJudge(backend=scripted, rubrics={"wit": {"asks": "?", "scale": {6: "much"}}})
    finding = LlmJudge(backend=scripted, rubrics=WIT, tags=("none",)).score(asked)
    assert set(finding.missing.values()) == {"no held-out turn is an answer in words"}
    from dataclasses import replace

    alone = replace(asked, answers={"tuned": asked.answers["tuned"]})
    judged = LlmJudge(backend={"type": "scripted", "default": '{"reason": "", "score": 4}'}, rubrics=WIT).score(alone)
    assert judged.missing == {"judge.wit.wins": "there is no base model to compare with"}


KILLED = """
import sys
from pathlib import Path
from src.eval.cases import Case
from src.eval.llm_judge import LlmJudge
from src.eval.measure import Evidence
cases = [Case(f"q:{n}", f"q:{n}", f"q:{n}", (), [{"role": "user", "content": "?"}], [], {"content": "Yes."}) for n in range(60)]
evidence = Evidence(cases, {"tuned": {case.id: f"well {case.id}." for case in cases}}, {}, {}, (), None, 1, Path("cache"))
backend = {"type": "openai", "model": "m", "base_url": sys.argv[1], "api_key_env": None}
judge = LlmJudge(backend=backend, rubrics={"wit": {"asks": "?"}}, compare=False, concurrency=4)
print(len(judge.score(evidence).measures[0].rows["tuned"]))
"""


def test_killed_it_pays_only_for_the_rest(backend):
    script, served = backend(latency=0.05)
    command = [sys.executable, "-c", KILLED, served["base_url"]]
    environment = os.environ | {"PYTHONPATH": str(TEST.parent)}
    first = subprocess.Popen(command, env=environment)
    until = time.monotonic() + 60
    while len(script.paid) < 15 and time.monotonic() < until:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert 15 <= len(script.paid) < 60
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert second.stdout.strip() == "60"
    assert len(script.paid) == 60
    assert sum(count - 1 for count in script.paid.values()) <= 4  # those under way when it was killed
