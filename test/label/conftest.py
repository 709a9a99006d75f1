"""The loopback chat servers of the backends' tests: one that a test tells what to answer, one with a script."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

TEST = Path(__file__).parents[1]


def _loaded(name, path):
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


_llm = _loaded("llm_conftest", TEST / "llm/conftest.py")
server = _llm.server
answer = _llm.answer
_scripted = _loaded("scripted_openai", TEST / "servers/scripted_openai.py")


@pytest.fixture
def scripted():
    """Serve a script: `script, url = scripted(latency=0.01, …)`."""
    open_ones = []

    def serve(**settings):
        script = _scripted.Script(**settings)
        running = _scripted.running(script)
        url = running.__enter__()
        open_ones.append(running)
        return script, url

    yield serve
    for each in open_ones:
        each.__exit__(None, None, None)


@pytest.fixture
def server_file():
    """The script that serves in a process of its own."""
    return TEST / "servers/scripted_openai.py"
