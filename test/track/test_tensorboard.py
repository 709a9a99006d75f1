"""Numbers can be read back from TensorBoard's files."""

from pathlib import Path

from src.track import tensorboard
from src.track.tensorboard import TensorBoard


def test_curves_and_a_run_that_goes_on():
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoard().open(Path())
    for step in (1, 2, 3):
        log.log(step, {"loss": float(step), "learning_rate": 0.5, "validation_loss": 2.0})
    log.close()
    log = TensorBoard().open(Path(), upto=2)
    log.log(3, {"loss": 30.0})
    log.close()
    found = EventAccumulator("tensorboard").Reload()
    assert sorted(found.Tags()["scalars"]) == ["train/learning_rate", "train/loss", "validation/loss"]
    assert [(point.step, point.value) for point in found.Scalars("train/loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_without_the_package_it_says_so(monkeypatch, caplog):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with caplog.at_level("INFO"):
        assert TensorBoard().open(Path()) is None
    assert "tensorboard is not installed" in caplog.text
