"""A real vLLM holds a tiny, untrained model to a JSON schema."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from src.llm.openai import OpenAIBackend

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VLLM_EXECUTABLE"), reason="needs VLLM_EXECUTABLE, as bash_script/vllm_cpu builds one"),
]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["bullish", "bearish", "neutral"]}},
    "required": ["label"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Base URL of a vLLM that serves a model with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.models.scratch import train_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = train_tokenizer([f'the price of {word} goes up and down {{}}:""' for word in ("oil", "gold", "corn", "tin")] * 50)
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=2048, **size, **ends)).save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    command = [
        os.environ["VLLM_EXECUTABLE"],
        "serve",
        str(folder),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--served-model-name",
        "tiny",
    ]
    command += ["--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
    # a model that knows nothing would fill its answer with the blanks that JSON allows
    command += ["--structured-outputs-config", json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})]
    log = (folder / "log").open("w")
    with log, subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log) as running:
        for _ in range(600):
            assert running.poll() is None, (folder / "log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
        running.terminate()


def test_an_untrained_model_answers_in_the_form_asked_for(served):
    with OpenAIBackend(model="tiny", base_url=served, max_retries=0).open() as client:
        ask = [{"role": "user", "content": "oil goes up"}]
        reply = client.chat(ask, max_tokens=100, schema=SCHEMA)
        assert client.structured and json.loads(reply.text)["label"] in SCHEMA["properties"]["label"]["enum"]
        assert reply.usage.prompt > 3


@pytest.mark.parametrize("batch", [1, 4])
def test_the_stage_labels_rows_through_it(served, batch, shared):
    import csv

    import yaml

    from src.core.records import Record
    from src.core.tables import write_records
    from src.label import label

    with (shared / "finance_tweets/zeroshot_tfns/sent_train.csv").open(encoding="utf-8", newline="") as stream:
        rows = [Record(f"t:{number}", row["text"], {}) for number, row in zip(range(24), csv.DictReader(stream), strict=False)]
    write_records(Path("in.parquet"), rows)
    backend = {"type": "openai", "model": "tiny", "base_url": served, "timeout": 120}
    section = {"input": "in.parquet", "backend": backend, "json_schema": SCHEMA, "max_tokens": 200, "batch": batch, "max_chars": 80}
    Path("p.yaml").write_text(yaml.safe_dump({"name": "p", "label": section}))
    manifest = label(label.load("p.yaml"))
    assert manifest.counts["read"] == manifest.counts["kept"] == 24
