"""Examples that dspy picks from the gold rows, judged on others."""

from pathlib import Path

import pytest
import yaml

from src.core.errors import MlxError
from src.core.records import Record
from src.core.tables import write_records
from src.label import label

pytest.importorskip("dspy", reason="needs the extra dspy")
pytestmark = pytest.mark.filterwarnings("ignore")


def project(url, **section):
    write_records(Path("in.parquet"), [Record("r", "x", {})])
    backend = {"type": "openai", "model": "m", "base_url": url, "max_retries": 0}
    classes = ["bullish", "bearish", "neutral"]
    section = {"input": "in.parquet", "backend": backend, "classes": classes, **section}
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "label": section}))
    return label.load("p.yaml")


def test_examples_come_from_rows_that_the_model_gets_right(scripted):
    from src.label.optimise import optimise

    script, url = scripted()
    rows = [
        f"{number} goes {way},{right}" for number in range(10) for way, right in (("up", "bullish"), ("down", "bearish"), ("on", "bearish"))
    ]
    Path("gold.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    made = project(url, gold={"path": "gold.csv"}, instructions="Judge.")
    found = optimise(made, Path("prompt.yaml"), examples=4)
    assert found["rows"] == 15 and 1 <= found["examples"] <= 4 and found["before"] == found["after"] > 0.4
    prompt = yaml.safe_load(Path("prompt.yaml").read_text())
    assert prompt["instructions"] == "Judge." and len(prompt["examples"]) == found["examples"]
    assert {f"{each['text']},{each['label']}" for each in prompt["examples"]} <= set(rows)
    asked = len(script.asked)
    assert optimise(made, Path("prompt.yaml"), examples=4) == found and len(script.asked) == asked
    label(project(url, prompt="prompt.yaml"))
    assert len(script.asked[-1]["messages"]) == 2 + 2 * found["examples"]


def test_without_gold_or_with_too_little(scripted):
    from src.label.optimise import optimise

    _, url = scripted()
    with pytest.raises(MlxError, match=r"needs label\.classes and label\.gold"):
        optimise(project(url))
    Path("gold.csv").write_text("text,label\na,bullish\nb,bearish\n")
    with pytest.raises(MlxError, match="has 2 rows"):
        optimise(project(url, gold={"path": "gold.csv"}))
