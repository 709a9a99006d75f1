"""Prompts find their task by examples, in a process of its own; without an answer in time the default takes them."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from src.core.errors import MlxError
from src.serve.beside.keeper import Keeper
from src.serve.beside.line import LineError
from src.serve.embedding.embedder import Hashing
from src.serve.routing.classified import Classified
from src.serve.routing.examples import examples
from src.serve.routing.nearest import nearest
from src.serve.routing.settings import Classifier, Routes

EXAMPLES = {
    "coding": ("Write a Python function that sorts a list", "Fix the bug in this function", "Refactor this class in Rust"),
    "weather": ("What is the weather in Lima", "Will it rain tomorrow", "How warm is it today"),
}
SETTINGS = Classifier(embedder=Hashing(), threshold=0.12, timeout=10)


def test_each_task_counts_by_its_nearest_examples_however_many_it_has():
    found = nearest({"few": [0.9, 0.8], "many": [0.7] * 50}, 3)
    assert (found.task, round(found.score, 3), round(found.margin, 3)) == ("few", 0.85, 0.15)
    assert nearest({"alone": [0.2]}, 3).margin == 0.2


@asynccontextmanager
async def classified(**more):
    """With the process of an embedder, kept as a server does."""
    settings = SETTINGS.model_copy(update=more)
    told = {"embedder": settings.embedder.model_dump(), "examples": EXAMPLES, "neighbours": settings.neighbours}
    keeper = Keeper("src.serve.embedding.process", told, path=Path("embedder.sock"), log=Path("embedder.log"))
    tasks = Classified(settings, keeper)
    assert await tasks.task("Fix it") == (None, "classifier loading")
    running = asyncio.create_task(keeper.run())
    try:
        await until(lambda: tasks.state == "ready")
        yield tasks, keeper._launcher.pid
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(true):
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


def test_a_task_is_found_by_examples_and_kept():
    async def work():
        async with classified() as (tasks, pid):
            found = await asyncio.gather(*(tasks.task(f"Write a function in Python, number {n}") for n in range(40)))
            assert {task for task, _ in found} == {"coding"}
            assert found[0][1].startswith("task coding (0.")
            assert (await tasks.task("Quantum chromodynamics"))[1].startswith("no example near (0.")
            assert await tasks.task("  ") == (None, "nothing said")
            os.kill(pid, signal.SIGKILL)
            await until(lambda: tasks.state != "ready")
            assert (await tasks.task("Something new"))[1] in ("classifier down", "classifier loading")
            assert (await tasks.task("Write a function in Python, number 3"))[0] == "coding"  # known
            await until(lambda: tasks.state == "ready")
            assert (await tasks.task("Will it rain in Lima?"))[0] == "weather", "what was started again has no examples"

    asyncio.run(work())


def test_what_comes_late_is_done_without():
    async def work():
        async with classified(timeout=0.05) as (tasks, pid):
            os.kill(pid, signal.SIGSTOP)
            assert await tasks.task("Fix the bug") == (None, "classifier late")
            many = await asyncio.gather(*(tasks.task(f"Fix bug {n}") for n in range(80)))
            assert {why for _, why in many} == {"classifier late", "classifier busy"}
            os.kill(pid, signal.SIGCONT)

    asyncio.run(work())


class Answers:
    """A process that says what it is told to."""

    state = "ready"

    def __init__(self, found=None):
        self.line, self.found = self, found

    async def ask(self, do, *, within, text):
        if self.found is None:
            raise LineError("down")
        return self.found


def test_between_two_tasks_the_default_answers():
    tasks = Classified(SETTINGS.model_copy(update={"margin": 0.2}), Answers({"task": "coding", "score": 0.6, "margin": 0.1}))
    assert asyncio.run(tasks.task("Fix my Python function")) == (None, "between tasks (0.10)")


def test_a_process_that_is_gone_leaves_the_default():
    assert asyncio.run(Classified(SETTINGS, Answers()).task("Fix it")) == (None, "classifier down")
    for state, told in (("failed", "down"), ("restarting", "down"), ("starting", "loading"), ("stopped", "stopped")):
        gone = Answers()
        gone.state = state
        assert asyncio.run(Classified(SETTINGS, gone).task("Fix it")) == (None, f"classifier {told}")


def routes(**more):
    return Routes.model_validate({"name": "router", "default": "fast", **more})


def test_examples_come_from_a_file_or_the_config(tmp_path):
    file = tmp_path / "examples.yaml"
    file.write_text("fast: [Hello, Hi]\ncoding: [Fix this]\n")
    found = examples(routes(examples=file, tasks={"coding": "coder"}), ["fast", "coder"])
    assert found == {"fast": ("Hello", "Hi"), "coding": ("Fix this",)}
    assert list(routes(examples=file).files()) == [file]
    assert examples(routes(examples={"fast": ["Hello"]}), ["fast"]) == {"fast": ("Hello",)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast: Hello", "no prompts by task"),
        ("[1]", "no prompts by task"),
        ("fast: [", "examples.yaml"),
        ("coding: [Fix]", "'coding' lead to no model"),
        ("fast: []", "'fast' has no examples"),
    ],
)
def test_examples_that_lead_nowhere_are_told(tmp_path, text, words):
    file = tmp_path / "examples.yaml"
    file.write_text(text)
    with pytest.raises(MlxError, match=words):
        examples(routes(examples=file), ["fast"])


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(MlxError, match="cannot read"):
        examples(routes(examples="gone.yaml"), ["fast"])
    with pytest.raises(ValidationError, match="is not there"):
        Routes.model_validate({"name": "r", "default": "f", "examples": "gone.yaml"}, context={"check_inputs": True})
