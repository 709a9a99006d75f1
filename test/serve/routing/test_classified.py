"""Prompts find their task by examples, in a process of its own; without an answer in time the default takes them."""

import asyncio
import io
import json
import os
import signal

import pytest
from pydantic import ValidationError

from src.core.errors import MlxError
from src.serve.memory.embedder import Hashing
from src.serve.routing.classified import Classified
from src.serve.routing.example_process import main
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


def test_the_process_answers_line_by_line():
    asked = [{"id": 7, "prompt": "Fix my Python function"}, {"id": 8, "prompt": "Does it rain in Lima today?"}]
    first = {"embedder": {"type": "hashing", "dimension": 2048}, "examples": EXAMPLES, "neighbours": 2}
    sink = io.StringIO()
    main(io.StringIO("\n".join(map(json.dumps, [first, *asked])) + "\n"), sink)
    rows = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert rows[0] == {"ready": True}
    assert [(row["id"], row["task"]) for row in rows[1:]] == [(7, "coding"), (8, "weather")]
    assert all(row["score"] > 0.1 and row["margin"] > 0 for row in rows[1:])


async def ready(tasks):
    running = asyncio.ensure_future(tasks.run())
    while tasks.state != "ready":
        await asyncio.sleep(0.02)
    return running


async def ended(running):
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_task_is_found_by_examples_and_kept():
    async def work():
        tasks = Classified(SETTINGS, EXAMPLES)
        assert await tasks.task("Fix it") == (None, "classifier loading")
        running = await ready(tasks)
        found = await asyncio.gather(*(tasks.task(f"Write a function in Python, number {n}") for n in range(40)))
        assert {task for task, _ in found} == {"coding"}
        assert found[0][1].startswith("task coding (0.")
        assert (await tasks.task("Quantum chromodynamics"))[1].startswith("no example near (0.")
        assert await tasks.task("  ") == (None, "nothing said")
        os.kill(tasks.pid, signal.SIGKILL)
        while tasks.state == "ready":
            await asyncio.sleep(0.02)
        assert await tasks.task("Something new") == (None, "classifier down")
        assert (await tasks.task("Write a function in Python, number 3"))[0] == "coding"  # known
        await ended(running)

    asyncio.run(work())


def test_what_comes_late_is_done_without():
    async def work():
        tasks = Classified(SETTINGS.model_copy(update={"timeout": 0.05}), EXAMPLES)
        running = await ready(tasks)
        os.kill(tasks.pid, signal.SIGSTOP)
        assert await tasks.task("Fix the bug") == (None, "classifier late")
        many = await asyncio.gather(*(tasks.task(f"Fix bug {n}") for n in range(80)))
        assert {why for _, why in many} == {"classifier late", "classifier busy"}
        os.kill(tasks.pid, signal.SIGCONT)
        await ended(running)

    asyncio.run(work())


def test_between_two_tasks_the_default_answers():
    async def work():
        tasks = Classified(SETTINGS.model_copy(update={"margin": 0.9}), EXAMPLES)
        running = await ready(tasks)
        assert (await tasks.task("Fix my Python function"))[1].startswith("between tasks (0.")
        await ended(running)

    asyncio.run(work())


def test_a_process_that_cannot_start_leaves_the_default(caplog, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")

    async def work():
        tasks = Classified(SETTINGS, EXAMPLES)
        running = asyncio.ensure_future(tasks.run())
        while tasks.state != "down":
            await asyncio.sleep(0.02)
        assert await tasks.task("Fix it") == (None, "classifier down")
        await ended(running)

    asyncio.run(work())
    assert "the classifier of routes" in caplog.text


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
