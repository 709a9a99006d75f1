"""A real vLLM serves adapter and merged model with the tokens and log-probabilities of training, and is caught where it does not."""

import os
from pathlib import Path

import pytest

from src.models.load import load_tokenizer
from src.models.trained import Trained
from src.pipeline import load_project
from src.train.export.run import merged
from src.train.verification.engine import Vllm
from src.train.verification.verify import verify

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]


def test_adapter_and_merged_model_agree_with_transformers(tmp_path, leave):
    leave(tmp_path)
    project = load_project("t.yaml")
    merged(project)
    report = verify(project, rows=14, url=None, dtype="auto")
    assert report.passed and not report.unchecked, "\n".join(report.lines())
    served = [check for check in report.checks if "vLLM" in check.name]
    assert [check.verdict for check in served] == ["pass"] * 4
    assert all(check.differ == 0 for check in served if check.largest is None)
    assert max(check.largest for check in served if check.largest is not None) < 1e-4


def test_a_template_altered_by_one_character_fails_with_the_token(tmp_path, leave):
    leave(tmp_path)
    project = load_project("t.yaml")
    trained = Trained.of(Path("checkpoint/t/train"))
    template = str(load_tokenizer(trained.tokenizer).chat_template)
    altered = template.replace("<|im_start|>' + message.role + '\\n'", "<|im_start|>' + message.role + ' '", 1)
    assert altered != template
    Path("altered.jinja").write_text(altered)
    engine = Vllm.of(project)
    with engine.serving(
        trained.model, trained.adapter, trained.tokenizer, dtype="fp32", longest=256, extra=("--chat-template", "altered.jinja")
    ) as served:
        report = verify(project, rows=14, url=served.where, dtype="auto")
    tokens = next(check for check in report.checks if check.differ is not None)
    assert not report.passed and tokens.verdict == "fail" and tokens.differ == 14
    assert tokens.first.expected == "\n" and tokens.first.served.startswith(" ")
    assert tokens.first.left.endswith("<|im_start|>user")
