"""What every test gets: a folder of its own to work in, and no secrets or settings of whoever runs it."""

import logging
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("LOG_LEVEL", "MODEL_CACHE_DIR", "OLLAMA_BASE_URL", "VECTOR_STORE_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield
    log = logging.getLogger("mlx")
    log.handlers, log.propagate = [], True


@pytest.fixture
def command(capsys, monkeypatch):
    """A function that calls `mlx` with arguments, in this process: its exit code, what it said, and what it said of errors."""
    from src import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["mlx", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        else:
            code = 0
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


@pytest.fixture
def shared():
    """The folder of real input data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    return SHARED


@pytest.fixture
def tokenizer_of():
    """A function that makes a small tokenizer with a model family's special tokens and chat template."""
    from .models.families import tokenizer_of

    return tokenizer_of
