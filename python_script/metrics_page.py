"""Write docs/metrics.md: every metric and suite of `mlx eval` with its figures, settings and reference, from the code itself.

python python_script/metrics_page.py
"""

import sys
from inspect import cleandoc
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from src.core.describe import shown_default  # noqa: E402
from src.eval import Metric  # noqa: E402
from src.eval.suites import Suite  # noqa: E402

HEAD = """# Metrics of `mlx eval`

Written by `python python_script/metrics_page.py` from the code, and checked against it by a test.

```yaml
eval:
  metrics: [{type: perplexity}, {type: tool_calls}, {type: style, words: 120}]
  suites: [{type: prompts, name: xstest, path: xstest_prompts.csv, tags: [type]}]
  gates: [{metric: tool_calls.accuracy, against: base, min_delta: 0}, {metric: xstest/safety.over_refusal, max: 0.1}]
```

Metrics read what the models answered, and generate nothing. Each figure comes with a 95 % interval (percentile bootstrap over
documents, or Wilson's where no row differs; Efron & Tibshirani 1993, Wilson 1927), each pair of models with a paired difference
(Koehn 2004), a p-value (exact McNemar 1947, or the bootstrap's) corrected over all figures (Holm 1979), and `sees`: the least true
difference that these rows would show four times in five. `mlx eval --help` lists the keys.
"""


def part(model):
    """The section of one metric or suite."""
    yield f"## `{model.model_fields['type'].default}`\n"
    yield cleandoc(model.__doc__) + "\n"
    if isinstance(names := getattr(model, "names", getattr(model, "figures", None)), tuple):
        yield f"Figures: {', '.join(f'`{name}`' for name in names)}.\n"
    fields = {name: field for name, field in model.model_fields.items() if name != "type"}
    if fields:
        yield "| setting | default | |\n|---|---|---|"
        yield from (f"| `{name}` | {shown_default(field).replace('|', '/')} | {field.description} |" for name, field in fields.items())
        yield ""


def page():
    """The whole page."""
    yield HEAD
    for model in get_args(get_args(Metric)[0]):
        yield from part(model)
    yield "# Suites\n\nPrompts of others, asked besides the project's own rows; `NAME/FIGURE` is what gates call their figures.\n"
    for model in get_args(get_args(Suite)[0]):
        yield from part(model)


if __name__ == "__main__":
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs/metrics.md").write_text("\n".join(page()).rstrip() + "\n")
