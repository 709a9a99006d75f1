"""A merged export is the model that was trained, whatever the adapter and however the base was kept."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from src.cli import application
from src.core.errors import MlxError
from src.core.manifest import Manifest
from src.models.likelihood import token_log_probs
from src.models.load import load
from src.models.merge import load_dequantized, merged_weights, ties
from src.models.shards import INDEX, write_shards
from src.models.trained import Trained
from src.pipeline import load_project
from src.train.export.run import as_adapter, merged

TRAIN, EXPORT = Path("checkpoint/t/train"), Path("checkpoint/t/export/merge")
IDS = [1, 30, 45, 60, 75, 90, 105, 120, 135, 150]


def apart(one, other):
    """Largest difference of log-probabilities."""
    return max(abs(left - right) for left, right in zip(token_log_probs(one, IDS), token_log_probs(other, IDS), strict=True))


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.parametrize(
    ("quantization", "lora"),
    [
        ("nf4", {}),
        ("nf4", {"use_dora": True}),
        ("int8", {"use_rslora": True}),
        ("none", {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 2}}),
        ("nf4", {"modules_to_save": ["lm_head"]}),
        ("none", {"target_modules": ["q_proj", "embed_tokens"]}),
    ],
    ids=["nf4", "dora", "int8-rslora", "patterns", "saved-head", "embedding"],
)
def test_it_is_the_adapter_on_the_dequantised_base(tmp_path, leave, quantization, lora):
    leave(tmp_path, quantization=quantization, **lora)
    place = merged(load_project("t.yaml"))
    oracle = load_dequantized(Trained.of(TRAIN)).model
    found = load(place, dtype="fp32").model
    assert apart(found, oracle) < 1e-4
    assert apart(found, load("tiny", dtype="fp32").model) > 0.1  # the adapter does something
    changed_end = bool({"modules_to_save", "target_modules"} & set(lora))
    assert json.loads((place / "config.json").read_text())["tie_word_embeddings"] is not changed_end
    assert "quantization_config" not in (place / "config.json").read_text()
    info = Manifest.read(place).info
    assert info["merged_into"] == ("dequantized" if quantization != "none" else "original")
    assert info["losses"]["export"] == pytest.approx(info["losses"]["as trained"], rel=1e-4 if quantization != "int8" else 0.05)


def test_the_original_base_is_another_model_and_the_card_says_how_much(tmp_path, leave):
    leave(tmp_path)
    place = merged(load_project("t.yaml"), base="original")
    info = Manifest.read(place).info
    assert (info["merged_into"], info["dtype"], info["quantization"], info["weights"]) == ("original", "fp32", "none", ".")
    assert abs(info["losses"]["export"] - info["losses"]["as trained"]) > abs(
        info["losses"]["export"] - info["losses"]["adapter on the original base"]
    )
    for name, loss in info["losses"].items():
        assert f"| {name} | {loss:.4f} |" in (place / "README.md").read_text()
    assert Trained.of(place).load().model.dtype == torch.float32


def test_what_is_not_the_trained_model_is_not_put_in_place(tmp_path, leave, monkeypatch):
    from src.train.export import merge as module

    leave(tmp_path)
    project = load_project("t.yaml")
    merged(project)
    before = (EXPORT / "manifest.json").read_bytes()

    def wrong(model, dtype):
        for name, weight in merged_weights(model, dtype):
            yield name, weight * 1.1 if name.endswith("0.mlp.up_proj.weight") else weight

    monkeypatch.setattr(module, "merged_weights", wrong)
    with pytest.raises(MlxError, match=r"not the trained one.*\n.*row made:.*after"):
        merged(project, dtype="bf16")
    assert (EXPORT / "manifest.json").read_bytes() == before and load(EXPORT, dtype="fp32")


def test_an_export_is_made_once_and_again_once_the_model_changed(tmp_path, leave):
    leave(tmp_path)
    project = load_project("t.yaml")
    made = Manifest.read(merged(project)).created
    assert Manifest.read(merged(project)).created == made
    manifest = Manifest.read(TRAIN)
    manifest.model_copy(update={"fingerprint": "other"}).write(TRAIN)
    assert Manifest.read(merged(project)).created > made


def test_weights_come_in_files_of_bounded_size_that_load(tmp_path, leave):
    leave(tmp_path)
    loaded = Trained.of(TRAIN).load()
    folder = tmp_path / "parts"
    folder.mkdir()
    count = write_shards(merged_weights(loaded.model, torch.float32), folder, limit=60_000)
    index = json.loads((folder / INDEX).read_text())
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) > 2 and {file.name for file in files} == set(index["weight_map"].values())
    assert index["metadata"]["total_size"] == 4 * count
    shutil.copy("tiny/config.json", folder)
    shutil.copy("tiny/tokenizer_config.json", folder)
    shutil.copy("tiny/tokenizer.json", folder)
    assert ties(loaded.model) and apart(load(folder, dtype="fp32").model, loaded.model) < 1e-4


def test_a_model_that_failed_its_gates_stays_here_unless_forced(tmp_path, leave, evaluate):
    leave(tmp_path)
    evaluate("fail")
    project = load_project("t.yaml")
    with pytest.raises(MlxError, match=r"tool_calls\.accuracy: 0\.1 .* asked for at least 0\.5") as error:
        merged(project)
    assert "--force" in error.value.hint and not EXPORT.exists()
    place = merged(project, force=True)
    assert "**It failed its gates and was exported all the same.**" in (place / "README.md").read_text()
    evaluate("fail", model="another")  # of an earlier model: no word about this one
    assert "This model was not evaluated." in (merged(project) / "README.md").read_text()


def test_the_card_tells_where_the_model_comes_from_and_nothing_of_this_machine(tmp_path, leave, evaluate, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    leave(tmp_path)
    evaluate()
    Path("data/t/build/card.md").write_text("# t\n\n## Sources\n\n| a | b |\n\n## Licences\n\n| CC0 | 14 |\n\n## Tags\n\nnone\n")
    Path(TRAIN, "manifest.json").write_text(
        Path(TRAIN, "manifest.json").read_text().replace("/home/me/models/tiny", f"{tmp_path}/hf_secretsecretsecret/tiny")
    )
    text = (merged(load_project("t.yaml")) / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: transformers\n")
    for wanted in ("| CC0 | 14 |", "accuracy  0.1 [0.0, 0.2]", "Held-out loss", "as trained", "torch 2", "model: tiny", '"Be brief."'):
        assert wanted in text, wanted
    assert Manifest.read(TRAIN).info["template"] in text and Manifest.read(Path("data/t/build")).fingerprint in text
    assert str(tmp_path) not in text and "hf_secret" not in text and "## Tags" not in text


def test_an_adapter_is_handed_on_without_paths_of_this_machine(tmp_path, leave):
    leave(tmp_path)
    place = as_adapter(load_project("t.yaml"))
    assert json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    assert (place / "tokenizer.json").exists() and "library_name: peft" in (place / "README.md").read_text()
    assert load("tiny", adapter=place).model.peft_config


def test_the_merged_export_can_be_served(tmp_path, leave):
    from src.serve import serve

    leave(tmp_path)
    merged(load_project("t.yaml"))
    project = serve.load("t.yaml", f"serve.input={EXPORT}")
    trained = Trained.of(serve.inputs(project)["model"][0].path)
    assert (trained.adapter, Path(trained.model), trained.tokenizer) == (None, EXPORT, EXPORT)
    assert project.section("serve").engine.open(trained, name="t", max_new_tokens=4, log=Path("log")).state == "loading"


def test_the_command_says_what_to_do_next(tmp_path, leave):
    leave(tmp_path)
    done = CliRunner().invoke(application([]), ["export", "merge", "t.yaml"])
    assert done.exit_code == 0 and "serve.input=checkpoint/t/export/merge" in done.output
    done = CliRunner().invoke(application([]), ["export", "adapter", "t.yaml"])
    assert done.exit_code == 0 and "checkpoint/t/export/adapter is there" in done.output
