"""What is uploaded, where to, and what stands in the way."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from src.core.errors import MlxError
from src.core.manifest import Manifest, now
from src.train.export.push import push


class Hub:
    """Stands in for the hub: remembers repositories and what came."""

    endpoint = "https://hub.test"

    def __init__(self):
        self.came = []
        self.public = set()

    def create_repo(self, name, *, private, exist_ok):
        self.came.append((name, private, exist_ok))

    def repo_info(self, name):
        return SimpleNamespace(private=name not in self.public)

    def upload_folder(self, *, repo_id, folder_path, ignore_patterns, commit_message):
        from huggingface_hub.utils import filter_repo_objects

        names = [path.relative_to(folder_path).as_posix() for path in Path(folder_path).rglob("*")]
        self.came.append((repo_id, sorted(filter_repo_objects(names, ignore_patterns=ignore_patterns)), commit_message))


@pytest.fixture
def folder():
    place = Path("export")
    place.mkdir()
    empty = {"config": {}, "inputs": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0}
    Manifest(stage="merge", name="t", key="k", fingerprint="f", counts={}, info={}, **empty).write(place)
    for name in ("README.md", "model.safetensors", ".lock"):
        (place / name).write_text("x")
    return place


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    return made


def test_it_goes_to_a_private_repository_without_what_names_this_machine(folder, hub):
    assert push(folder, "me/model") == "https://hub.test/me/model"
    assert hub.came == [("me/model", True, True), ("me/model", ["README.md", "model.safetensors"], "export made by mlx")]


def test_a_public_repository_is_taken_only_when_told(folder, hub, monkeypatch):
    monkeypatch.setattr(hub, "public", {"me/model"})
    with pytest.raises(MlxError, match="me/model is public") as error:
        push(folder, "me/model")
    assert "--public" in error.value.hint and len(hub.came) == 1
    push(folder, "me/model", private=False)
    assert hub.came[1][1] is False


@pytest.mark.parametrize("name", ["model", "a/b/c", "/model"])
def test_a_name_that_is_none(folder, hub, name):
    with pytest.raises(MlxError, match="is no repository"):
        push(folder, name)


def test_without_a_token_nothing_is_tried(folder, hub, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(MlxError, match="no token") as error:
        push(folder, "me/model")
    assert "HF_TOKEN" in error.value.hint and not hub.came


def test_offline_it_says_so_and_that_the_export_is_done(folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with pytest.raises(MlxError, match=r"hub (is switched off|cannot be reached)") as error:
        push(folder, "me/model")
    assert "the export itself is done" in error.value.hint


@pytest.mark.parametrize(("status", "words"), [(403, "the hub refuses me/model"), (None, "the hub cannot be reached")])
def test_a_refusal_is_told(folder, hub, monkeypatch, status, words):
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    def refuse(*_, **__):
        request = httpx.Request("POST", "https://hub.test")
        if status:
            raise HfHubHTTPError("403 Forbidden: you may not", response=httpx.Response(status, request=request))
        raise httpx.ConnectError("no route", request=request)

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(MlxError, match=words):
        push(folder, "me/model")


def test_what_is_no_export_is_not_uploaded(hub, tmp_path):
    with pytest.raises(MlxError, match="not a finished output"):
        push(tmp_path, "me/model")
