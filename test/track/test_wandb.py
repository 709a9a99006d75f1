"""Numbers in wandb's own offline files, none twice, none missing, and nothing that is nobody's business."""

import struct
from pathlib import Path

import pytest

from src.track.metrics import Metrics
from src.track.wandb import WandB

wandb = pytest.importorskip("wandb", reason="uv sync --extra wandb")
ABOUT = {"project": "t", "settings": {"train": {"lora": {"r": 16}, "model": "with-hush-hush-key"}}}


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("OTHER_API_KEY", "hush-hush-key")


def records(data):
    """Records of a LevelDB log, in which they may be cut into pieces: blocks of 32 KiB, each piece behind checksum, length and kind."""
    place, record = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def read():
    """All points of the one run in the folder, its settings, its summary and the raw bytes."""
    from wandb.proto import wandb_internal_pb2 as messages

    [file] = Path("log/wandb").glob("offline-run-*/*.wandb")
    points, settings, summary = [], {}, {}
    for data in records(file.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            points.append({"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item})
        settings |= {"/".join(item.nested_key) or item.key: item.value_json for item in record.run.config.update}
        summary |= {"/".join(item.nested_key) or item.key: item.value_json for item in record.summary.update}
    return points, settings, summary, file.read_bytes()


def test_offline_points_of_a_run_that_was_killed_and_went_on():
    metrics = Metrics(Path("metrics.jsonl"))
    log = WandB().open(Path(), upto=0, **ABOUT)
    for step in (1, 2, 3):
        for each in (metrics, log):
            each.log(step, {"loss": float(step)})
    metrics.close()
    log.run.finish()  # a kill leaves about as much
    metrics = Metrics(Path("metrics.jsonl"), upto=2)
    log = WandB().open(Path(), upto=2, **ABOUT)
    for each in (metrics, log):
        each.log(3, {"loss": 30.0})
        each.log(3, {"validation_loss": 4.0})
    log.close("checkpoint/t/train")
    metrics.close()
    points, settings, summary, raw = read()
    assert [(point["_step"], point.get("train/loss")) for point in points] == [("1", "1"), ("2", "2"), ("3", "30")]
    assert points[2]["validation/loss"] == "4"
    assert settings["train.lora.r"] == '"16"'
    assert settings["train.model"] == '"with-***"'
    assert summary["output"] == '"checkpoint/t/train"'
    assert b"hush-hush" not in raw


def test_online_passes_over_what_is_there_already():
    from src.track.wandb import WandBLog

    class Run:
        def __init__(self):
            self.points = []

        def log(self, values, step):
            self.points.append((step, values))

    run = Run()
    log = WandBLog(run, known=3)
    for step in (2, 3, 4):
        log.log(step, {"loss": 1.0})
    assert [step for step, _ in run.points] == [3, 4]


def test_online_asks_for_a_key_before_it_asks_the_network(monkeypatch):
    from src.core.errors import MlxError

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(MlxError, match="WANDB_API_KEY is not set"):
        WandB(mode="online").open(Path(), upto=0, **ABOUT)
