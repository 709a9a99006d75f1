"""Numbers in MLflow's database, none twice, with the settings and where the output is."""

from pathlib import Path

import pytest

from src.track.mlflow import MLflow

pytest.importorskip("mlflow", reason="uv sync --extra mlflow")
pytest.importorskip("sqlalchemy", reason="MLflow's database file needs it")
# MLflow's own: on Python's sqlite3 and in pydantic models
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
ABOUT = {"project": "t", "settings": {"train": {"lora": {"r": 16}, "model": "m" * 600}}}


def test_points_of_a_run_that_was_killed_and_went_on():
    from mlflow import MlflowClient

    log = MLflow().open(Path(), upto=0, **ABOUT)
    for step in (1, 2, 3):
        log.log(step, {"loss": float(step), "learning_rate": 0.5})
    log = MLflow().open(Path(), upto=2, **ABOUT)  # the third is there already, and cannot be taken back
    log.log(3, {"loss": 3.0, "validation_loss": 4.0})
    log.log(4, {"loss": 4.0})
    log.close("checkpoint/t/train")
    client = MlflowClient("sqlite:///log/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("t").experiment_id])
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((point.step, point.value) for point in points) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "validation/loss")] == [3]
    assert run.data.params == {"train.lora.r": "16", "train.model": "m" * 500}
    assert (run.info.status, run.data.tags["output"]) == ("FINISHED", "checkpoint/t/train")


def test_a_run_that_was_stopped_says_so():
    from mlflow import MlflowClient

    log = MLflow(experiment="mine").open(Path(), upto=0, **ABOUT)
    log.close(None)
    client = MlflowClient("sqlite:///log/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.status == "KILLED"


def test_a_server_that_is_gone_ends_no_training(caplog):
    from mlflow.exceptions import MlflowException

    from src.track.mlflow import MLflowLog

    class Client:
        calls = 0

        def log_batch(self, run, metrics):
            self.calls += 1
            raise MlflowException("connection refused")

    log = MLflowLog(Client(), "r", known={})
    log.log(1, {"validation_loss/books & co": 1.0})
    log.log(2, {"loss": 1.0})
    log.close(None)
    assert log.client.calls == 1
    assert "MLflow takes no more numbers, metrics.jsonl still does: connection refused" in caplog.text
