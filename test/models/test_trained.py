"""A training's output says what it needs, and finds it after a move."""

import json
import shutil
from pathlib import Path

import pytest

from src.core.errors import MlxError
from src.core.manifest import Manifest, now
from src.models.trained import Trained, beside, fingerprint


def output(folder, base, **more):
    """Write the manifest of a training on `base` to `folder`."""
    info = {"base": base, "base_kind": "folder", "quantization": "nf4", "dtype": "fp32", "device": "cpu", "template": "t", **more}
    empty = {"config": {}, "inputs": {}, "outputs": {}, "versions": {}, "counts": {}, "created": now()}
    empty |= {"seconds": 0, "peak_mb": 0, "seed": 0}
    folder.mkdir(parents=True, exist_ok=True)
    Manifest(stage="train", name="t", key="k", fingerprint="f", info=info, **empty).write(folder)


def model(folder, weights=b"weights"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_it_reads_back_what_it_noted():
    output(Path("o"), "org/name", base_kind="hub", system="Be brief.")
    trained = Trained.of(Path("o"))
    assert (trained.base_path, trained.system, trained.adapter) == ("org/name", "Be brief.", Path("o/adapter"))
    assert Trained.model_validate(trained.as_info()).base == "org/name"
    assert "folder" not in trained.as_info()


def test_a_folder_is_found_from_the_working_folder_or_from_the_output(monkeypatch):
    base = model(Path("p/cache/base"))
    place = Path("p/checkpoint/t/train")
    output(place, "p/cache/base", base_beside=beside("p/cache/base", place), base_fingerprint=fingerprint(base))
    assert Trained.of(Path("p/checkpoint/t/train")).base_path == "p/cache/base"
    shutil.move("p", "moved")
    assert Trained.of(Path("moved/checkpoint/t/train")).base_path == "moved/cache/base"


def test_another_base_in_its_place_is_refused():
    base = model(Path("base"))
    output(Path("o"), "base", base_fingerprint=fingerprint(base))
    (base / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(MlxError, match="base is not the base that o was trained on"):
        _ = Trained.of(Path("o")).base_path


@pytest.mark.parametrize(("kind", "hint"), [("folder", "bring it back"), ("scratch", "run `mlx train` again")])
def test_a_base_that_is_gone(kind, hint):
    output(Path("o"), "base", base_kind=kind, base_beside="../base")
    with pytest.raises(MlxError, match="the base model base of o is gone") as error:
        _ = Trained.of(Path("o")).base_path
    assert error.value.hint == hint


def test_the_output_of_another_stage_is_refused():
    output(Path("o"), "base")
    manifest = json.loads(Path("o/manifest.json").read_text())
    Path("o/manifest.json").write_text(json.dumps({**manifest, "stage": "build"}))
    with pytest.raises(MlxError, match="was made by build"):
        Trained.of(Path("o"))


def test_the_fingerprint_sees_the_end_of_a_large_file(tmp_path):
    one = model(tmp_path / "one", bytes(300_000))
    other = model(tmp_path / "other", bytes(299_999) + b"x")
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(model(tmp_path / "again", bytes(300_000)))


def test_the_dtype_of_another_device_is_not_kept(monkeypatch):
    import torch

    output(Path("o"), "org/name", base_kind="hub", dtype="bf16", device="cuda")
    trained = Trained.of(Path("o"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (trained._dtype("auto"), trained._dtype("cpu")) == ("bf16", "auto")
