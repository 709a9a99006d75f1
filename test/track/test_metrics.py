"""Metrics go on where a training goes on."""

from pathlib import Path

from src.track.metrics import Metrics, read_metrics


def test_it_is_cut_at_the_step_from_which_it_goes_on():
    metrics = Metrics(Path("m.jsonl"))
    for step in (1, 2, 3):
        metrics.log(step, {"loss": 1.0 / step, "tokens": 10 * step})
    with Path("m.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')  # a kill in the middle of a line
    again = Metrics(Path("m.jsonl"), upto=2)
    assert again.last == {"step": 2, "loss": 0.5, "tokens": 20}
    again.log(3, {"loss": 0.25})
    assert [row["loss"] for row in read_metrics(Path("m.jsonl"))] == [1.0, 0.5, 0.25]
    metrics.close()
    again.close()
    Metrics(Path("m.jsonl")).close()
    assert read_metrics(Path("m.jsonl")) == []  # from the start
    assert read_metrics(Path("none.jsonl")) == []
