"""Numbers can be read back from TensorBoard's files."""

from pathlib import Path

from src.track import tensorboard
from src.track.tensorboard import TensorBoard

ABOUT = {"project": "t", "settings": {"train": {"lora": {"r": 16}}}}


def test_curves_and_a_run_that_goes_on():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoard().open(Path(), upto=0, **ABOUT)
    for step in (1, 2, 3):
        log.log(step, {"loss": float(step), "learning_rate": 0.5, "validation_loss": 2.0})
    log.close()
    log = TensorBoard().open(Path(), upto=2, **ABOUT)
    log.log(3, {"loss": 30.0})
    log.close("checkpoint/t/train")
    found = EventAccumulator("tensorboard").Reload()
    assert found.Tags()["tensors"] == ["settings/text_summary", "output/text_summary"]
    assert found.Tensors("settings/text_summary")[0].tensor_proto.string_val == [b"    train.lora.r: 16"]
    assert sorted(found.Tags()["scalars"]) == ["train/learning_rate", "train/loss", "validation/loss"]
    assert [(point.step, point.value) for point in found.Scalars("train/loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_without_the_package_it_says_so(monkeypatch, caplog):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with caplog.at_level("INFO"):
        assert TensorBoard().open(Path(), upto=0, **ABOUT) is None
    assert "tensorboard is not installed" in caplog.text
