"""Both shipped classifiers run to the end of their evaluation on real tweets, as `bash_script/try_sentiment` runs them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.manifest import Manifest

ROOT = Path(__file__).parents[2]
TWEETS = ROOT.parent / "shared/data/finance_tweets"
TINY = ("train.scratch.steps=2", "train.epochs=1", "train.max_steps=3", "train.eval_steps=3")


@pytest.mark.slow
@pytest.mark.skipif(not TWEETS.exists(), reason="needs the tweets, which lie beside the repository")
def test_both_configs_run_to_the_end_of_eval():
    for name, delimiter, step in (("taborda", ";", 8), ("zeroshot_tfns", ",", 16)):
        shorten(next((TWEETS / name).glob("*.csv")), Path("tweets", name, "tweets.csv"), delimiter, step)
    command = [ROOT / "bash_script/try_sentiment", "tweets", *TINY]
    environment = {**os.environ, "MLX": f"{sys.executable} -m src", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mlx chat" not in done.stdout
    for name, classes in (("sentiment-try", 5), ("finbert-try", 3)):
        assert f"data/{name}/eval/predictions/tuned.jsonl" in done.stdout
        found = Manifest.read(Path(f"data/{name}/eval")).info["figures"]
        assert 0 <= found["classification.macro_f1"]["tuned"] <= 1
        assert len(Manifest.read(Path(f"checkpoint/{name}/train")).info["labels"]) == classes


def shorten(source, target, delimiter, step):
    """Copy some tweets from everywhere, as the files are sorted by class: each split has to have 50 rows."""
    target.parent.mkdir(parents=True)
    with source.open(encoding="utf-8", newline="") as stream, target.open("w", encoding="utf-8", newline="") as short:
        head, *rows = csv.reader(stream, delimiter=delimiter)
        csv.writer(short, delimiter=delimiter).writerows([head, *rows[::step]])
