"""Numbers to MLflow: a database file here, or a server."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from src.core.config import Config, FromEnv
from src.core.files import write_text
from src.track.names import flat, tag

RUN = "mlflow.txt"
_NOT_ALLOWED = re.compile(r"[^/\w.\- :]")
_MOST = 500
"""Longest value of a parameter that every server takes."""


class MLflow(Config):
    """MLflow."""

    type: Literal["mlflow"] = "mlflow"
    uri: Annotated[str, FromEnv("MLFLOW_TRACKING_URI")] = "sqlite:///log/mlflow.db"
    """A database file, for `mlflow ui --backend-store-uri URI` to show, or a server's address; its password comes from the environment."""
    experiment: str | None = None
    """Experiment there; the name of the project if none."""

    def open(self, folder: Path, *, upto: int, project: str, settings: Mapping[str, Any]) -> "MLflowLog":
        """Begin a run, or go on with the one noted in `folder`."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(self.uri)
        note = folder / RUN
        if upto and note.exists():
            run = note.read_text(encoding="utf-8")
            client.update_run(run, status="RUNNING")
            return MLflowLog(client, run, known=_last(client, run))
        run = client.create_run(self._experiment(client, self.experiment or project), run_name=project).info.run_id
        for name, value in flat(settings).items():
            client.log_param(run, name, value[:_MOST])
        write_text(note, run)
        return MLflowLog(client, run, known={})

    def _experiment(self, client: Any, name: str) -> str:
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        return str(client.create_experiment(name, artifact_location=Path("log/mlflow").absolute().as_uri()))


class MLflowLog:
    """An open run.

    Args:
        client: An `MlflowClient`.
        run: Id of the run.
        known: The last step that is there already, of each curve; MLflow cannot take it back.
    """

    def __init__(self, client: Any, run: str, *, known: Mapping[str, int]) -> None:
        self.client = client
        self.run = run
        self.known = known
        self.lost = False
        """Whether it cannot be reached any more."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""
        if self.lost:
            return
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        named = {_NOT_ALLOWED.sub("_", tag(name)): value for name, value in values.items()}
        points = [Metric(name, value, now, step) for name, value in named.items() if step > self.known.get(name, -1)]
        try:
            self.client.log_batch(self.run, metrics=points)
        except MlflowException as error:  # hours of training are worth more
            self.lost = True
            logging.getLogger("mlx.track").warning("MLflow takes no more numbers, metrics.jsonl still does: %s", error)

    def close(self, output: str | None) -> None:
        """Say how it ended, and where the output is."""
        if self.lost:
            return
        if output:
            self.client.set_tag(self.run, "output", output)
        self.client.set_terminated(self.run, "FINISHED" if output else "KILLED")


def _last(client: Any, run: str) -> dict[str, int]:
    names = client.get_run(run).data.metrics
    return {name: max(point.step for point in client.get_metric_history(run, name)) for name in names}
