"""The page of metrics says what the code says, and every metric names where it comes from."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import get_args

import pytest

from src.eval import Metric

ROOT = Path(__file__).parents[2]
METRICS = get_args(get_args(Metric)[0])


def test_it_is_what_the_code_says():
    spec = spec_from_file_location("metrics_page", ROOT / "python_script/metrics_page.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    said = (ROOT / "docs/metrics.md").read_text()
    assert said == "\n".join(module.page()).rstrip() + "\n", "run python python_script/metrics_page.py"


@pytest.mark.parametrize("metric", METRICS, ids=lambda each: each.__name__)
def test_every_metric_has_a_reference(metric):
    assert re.search(r"(19|20)\d\d|rouge-score|et al\.", metric.__doc__), metric.__doc__
