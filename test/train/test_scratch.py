"""The base made from nothing is made once."""

import shutil
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.files import write_jsonl
from src.models.trained import Trained
from src.train import train

SCRATCH = Path("data/t/build/scratch")


@pytest.fixture
def with_scratch(project):
    """The project on a base of its own, three steps old, with the dataset that this needs."""
    shutil.copytree("tiny", SCRATCH, ignore=lambda *_: ["config.json", "model.safetensors", "generation_config.json"])
    write_jsonl(SCRATCH / "texts.jsonl", [{"text": "The lamp is red and the door is green. " * 5}] * 10)
    return lambda *overrides: project(
        "train.model=scratch", "train.scratch.steps=3", "train.max_steps=1", "train.sequence_length=256", *overrides
    )


def test_it_is_made_once_and_found_again(with_scratch, monkeypatch):
    from src.train import scratch

    train(with_scratch())
    [made] = Path("checkpoint/cache/scratch").iterdir()
    trained = Trained.of(Path("checkpoint/t/train"))
    assert (trained.base_kind, trained.base_path) == ("scratch", made.as_posix())
    with monkeypatch.context() as patched:
        patched.setattr(scratch.recipe, "pretrain", None)  # would fail if it were called
        train(with_scratch("train.lora.r=2"))
    train(with_scratch("train.scratch.steps=2"))
    assert len(list(Path("checkpoint/cache/scratch").iterdir())) == 2  # and no half-written folder


def test_two_that_make_the_same_keep_the_first(with_scratch, monkeypatch):
    from src.train import scratch

    pretrain = scratch.recipe.pretrain

    def meanwhile(*args, **options):
        model = pretrain(*args, **options)
        shutil.copytree(kept, Path("checkpoint/cache/scratch") / name)
        return model

    train(with_scratch())
    [made] = Path("checkpoint/cache/scratch").iterdir()
    name = made.name
    kept = made.rename("kept")
    monkeypatch.setattr(scratch.recipe, "pretrain", meanwhile)
    train(with_scratch(), force=True)
    assert [each.name for each in Path("checkpoint/cache/scratch").iterdir()] == [name]


def test_without_a_tokenizer_in_the_dataset(project):
    with pytest.raises(MlxError, match="holds no tokenizer") as error:
        train(project("train.model=scratch"))
    assert "build.tokenizer" in error.value.hint
