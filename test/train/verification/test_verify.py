"""A verification passes where the same model is served, and shows the first token where it is not."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from src.cli import application
from src.core.errors import MlxError
from src.llm.wire import on_the_wire
from src.models.likelihood import token_log_probs
from src.models.load import load
from src.models.template import prompt_ids
from src.pipeline import load_project
from src.train.export.run import merged
from src.train.verification.engine import Vllm
from src.train.verification.served import Served
from src.train.verification.verify import verify

SEEN = Path("checkpoint/t/verify/verify.json")


def as_objects(messages):
    """What a server makes of the arguments that come as JSON in a string."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


@contextmanager
def serving(loaded, *, adapter=True, name="t", refuse=()):
    """An address that answers as a vLLM does, out of a model in this process."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"data": [{"id": "base"}, {"id": name, "parent": "base"}] if adapter else [{"id": name}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path in refuse:
                self.send_error(404)
            elif self.path == "/tokenize":
                messages, tools = as_objects(body["messages"]), body.get("tools")
                prompt = body["add_generation_prompt"]
                ids = (
                    prompt_ids(loaded.tokenizer, messages, tools)
                    if prompt
                    else list(loaded.tokenizer.apply_chat_template(messages, tools=tools, return_dict=False))
                )
                self.answer({"tokens": ids})
            else:
                ids = body["prompt"]
                found = token_log_probs(loaded.model, ids)
                told = [{str(token): {"logprob": value}} for token, value in zip(ids[1:], found, strict=True)]
                self.answer({"choices": [{"prompt_logprobs": [None, *told]}]})

        def answer(self, body):
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def on_original(**options):
    return load("tiny", adapter=Path("checkpoint/t/train/adapter"), dtype="fp32", **options)


def verdicts(report):
    return {check.name: check.verdict for check in report.checks}


def test_what_vllm_would_serve_agrees_and_the_whole_base_is_a_figure_of_its_own(tmp_path, leave):
    leave(tmp_path)
    with serving(on_original()) as url:
        report = verify(load_project("t.yaml"), rows=12, url=url, dtype="auto")
    assert report.passed and verdicts(report) == {
        "original base, transformers": "figure",
        "tokens, vLLM with the adapter": "pass",
        "adapter, vLLM fp32": "pass",
    }
    figure, tokens, served = report.checks
    assert figure.largest > 0.01 and served.largest < 1e-4 and tokens.differ == 0
    seen = json.loads(SEEN.read_text())
    assert seen["verdict"] == "pass" and {"made:call", "made:offered"} <= set(seen["rows"]) and len(seen["rows"]) == 12
    assert seen["checks"][2]["largest"] == served.largest and SEEN.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert [what for what, _ in report.unchecked] == ["a merged export: there is none of this model"]


def test_a_template_altered_by_one_character_is_shown_with_the_token(tmp_path, leave):
    leave(tmp_path)
    loaded = on_original()
    template = loaded.tokenizer.chat_template
    altered = template.replace("<|im_start|>' + message.role + '\\n'", "<|im_start|>' + message.role + ' '", 1)
    assert altered != template
    loaded.tokenizer.chat_template = altered
    with serving(loaded) as url:
        report = verify(load_project("t.yaml"), rows=12, url=url, dtype="auto")
    assert not report.passed and verdicts(report)["tokens, vLLM with the adapter"] == "fail"
    first = next(check.first for check in report.checks if check.first)
    assert first.expected == "\n" and first.served.startswith(" ") and first.expected_id != first.served_id
    assert first.left.endswith("<|im_start|>user")
    text = "\n".join(report.lines())
    assert f"token {first.position}, after" in text and f"expected '\\n' (id {first.expected_id})" in text


def test_another_adapter_is_found_by_its_log_probabilities(tmp_path, leave):
    leave(tmp_path)
    loaded = on_original()
    for weight in loaded.model.parameters():
        weight.data *= 1.02
    with serving(loaded) as url:
        done = CliRunner().invoke(application([]), ["verify", "t.yaml", "--url", url, "--rows", "6"])
    assert done.exit_code == 1
    assert "first difference: adapter, vLLM fp32 against original base, transformers fp32" in done.output and " nats" in done.output


def test_a_merged_export_is_compared_in_transformers_and_where_it_is_served(tmp_path, leave):
    leave(tmp_path)
    project = load_project("t.yaml")
    place = merged(project)
    with serving(load(place, dtype="fp32"), adapter=False) as url:
        report = verify(project, rows=8, url=url, dtype="auto")
    names = ["merged, transformers", "original base, transformers", "tokens, vLLM with the merged", "merged, vLLM fp32"]
    assert report.passed and list(verdicts(report)) == names
    assert not report.unchecked


def test_without_vllm_it_compares_what_there_is_and_says_what_is_missing(tmp_path, leave, monkeypatch):
    monkeypatch.delenv("VLLM_EXECUTABLE", raising=False)
    leave(tmp_path, quantization="int8")
    merged(load_project("t.yaml"))
    done = CliRunner().invoke(application([]), ["verify", "t.yaml", "--rows", "4"])
    assert done.exit_code == 0, done.output
    assert "dequantised base" in done.output and "not checked: what is served: the vllm engine cannot run" in done.output
    assert "VLLM_EXECUTABLE=" in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"refuse": ("/tokenize",)}, "has no /tokenize"),
        ({"refuse": ("/v1/completions",)}, "answers 404"),
        ({"adapter": False}, "serves no adapter, and there is no merged export"),
    ],
)
def test_a_server_that_cannot_be_asked(tmp_path, leave, options, words):
    leave(tmp_path)
    with serving(on_original(), **options) as url, pytest.raises(MlxError, match=words):
        verify(load_project("t.yaml"), rows=2, url=url, dtype="auto")


def test_addresses_where_there_is_no_server():
    with pytest.raises(MlxError, match="is no address of a server"):
        Served("ftp://somewhere", "t")
    with pytest.raises(MlxError, match="no answer from"):
        Served("127.0.0.1:9", "t")


def test_arguments_travel_as_json_in_a_string():
    call = {"function": {"name": "paint", "arguments": {"colour": "blå"}}}
    sent = on_the_wire({"role": "assistant", "tool_calls": [call]})
    assert sent["tool_calls"][0] == {"type": "function", "function": {"name": "paint", "arguments": '{"colour": "blå"}'}}
    assert call["function"]["arguments"] == {"colour": "blå"}


def test_a_dataset_that_is_gone(tmp_path, leave):
    leave(tmp_path)
    for file in Path("data/t/build").glob("*.jsonl"):
        file.unlink()
    with pytest.raises(MlxError, match="the dataset data/t/build is gone"):
        verify(load_project("t.yaml"), rows=2, url=None, dtype="auto")


def test_vllm_is_started_with_all_that_the_project_serves_with(leave, tmp_path, monkeypatch):
    leave(tmp_path)
    text = Path("t.yaml").read_text()
    Path("t.yaml").write_text(
        text.replace("serve: {}\n", "") + "serve:\n  engine: {type: vllm, executable: /bin/true, quantization: fp8, tensor_parallel: 2, "
        "data_parallel: 3, max_model_len: 200, extra_args: [--seed, '3']}\n"
    )
    seen = []

    class Started:
        def __init__(self, command, **_):
            seen.append(command)
            raise MlxError("not now")

    monkeypatch.setattr("src.train.verification.engine.Launcher", Started)
    project = load_project("t.yaml")
    assert Vllm.of(project).quantises
    with pytest.raises(MlxError, match="not now"):
        verify(project, rows=3, url=None, dtype="auto")
    (argv,) = seen
    told = {key: argv[place + 1] for place, key in enumerate(argv) if key.startswith("--") and place + 1 < len(argv)}
    assert (told["--quantization"], told["--tensor-parallel-size"], told["--data-parallel-size"]) == ("fp8", "2", "3")
    assert int(told["--max-model-len"]) <= 200 and argv[-2:] == ["--seed", "3"]
