"""Many questions side by side: each answer is kept as it comes, each failure told, and nothing is asked in vain."""

import asyncio

import pytest

from src.llm.client import BackendError
from src.llm.crowd import HOPELESS, ask_all
from src.llm.patience import LONGEST
from src.llm.scripted import ScriptedBackend


class Crowd:
    """Questions whose tries follow a script: an answer, an error, or None for silence."""

    def __init__(self, **tries):
        self.tries = {name: list(each) for name, each in tries.items()}
        self.asked = dict.fromkeys(tries, 0)
        self.kept = {}
        self.slept = []
        self.at_once = self.most = 0

    async def once(self, name):
        self.asked[name] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0.001)
            said = self.tries[name].pop(0) if len(self.tries[name]) > 1 else self.tries[name][0]
            if said is None:
                await asyncio.sleep(60)
            if isinstance(said, Exception):
                raise said
            return said
        finally:
            self.at_once -= 1

    async def sleep(self, seconds):
        self.slept.append(seconds)

    def run(self, **settings):
        settings = {"concurrency": 3, "max_retries": 2, "timeout": 0.2, "sleep": self.sleep, **settings}
        questions = {name: lambda name=name: self.once(name) for name in self.tries}
        with ScriptedBackend().open() as client:
            return ask_all(client, questions, keep=self.kept.__setitem__, **settings)


def busy(**more):
    return BackendError("busy", transient=True, **more)


def test_every_answer_is_kept_within_the_concurrency():
    crowd = Crowd(**{f"q{n}": [n] for n in range(20)})
    assert crowd.run() == {}
    assert crowd.kept == {f"q{n}": n for n in range(20)}
    assert crowd.most == 3


def test_faults_are_tried_again_as_the_server_asks_and_then_told():
    crowd = Crowd(a=[busy(retry_after=7), busy(), "yes"], b=[busy()], c=[BackendError("no", of_request=True)], d=["d"])
    failed = crowd.run()
    assert crowd.kept == {"a": "yes", "d": "d"}
    assert {name: str(error) for name, error in failed.items()} == {"b": "busy", "c": "no"}
    assert crowd.asked == {"a": 3, "b": 3, "c": 1, "d": 1}
    assert 7 in crowd.slept


def test_silence_costs_the_timeout():
    crowd = Crowd(a=[None, "late"], b=[None])
    failed = crowd.run(max_retries=1, timeout=0.05)
    assert crowd.kept == {"a": "late"}
    assert str(failed["b"]) == "no answer in 0.05 s"


def test_a_wait_too_long_is_not_waited():
    assert list(Crowd(a=[busy(retry_after=LONGEST + 1)]).run()) == ["a"]


def test_what_no_one_answers_ends_early_and_what_lies_in_the_questions_does_not():
    crowd = Crowd(**{f"q{n}": [busy()] for n in range(50)})
    with pytest.raises(BackendError, match="busy"):
        crowd.run(max_retries=0)
    assert sum(crowd.asked.values()) <= HOPELESS + 6
    with pytest.raises(BackendError, match="key"):
        crowd = Crowd(**{f"q{n}": [BackendError("key", final=True)] for n in range(50)})
        crowd.run()
    assert sum(crowd.asked.values()) <= 6
    assert len(Crowd(**{f"q{n}": [BackendError("no", of_request=True)] for n in range(20)}).run()) == 20
