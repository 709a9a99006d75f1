"""Models load quantised or whole, with or without an adapter; what cannot be loaded says why."""

import json
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from src.core.errors import MlxError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folder of a Llama with hidden size 64 and two layers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.models.scratch import train_tokenizer

    folder = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = train_tokenizer(["The lamp is red."] * 9, vocab=320)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=64, tie_word_embeddings=True, **shape)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """An adapter on it that changes what it says, with a tokenizer of its own."""
    import torch
    from peft import LoraConfig, get_peft_model

    from src.models.load import load, load_tokenizer

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    settings = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(load(tiny).model, settings).save_pretrained(folder)
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = "another"
    tokenizer.save_pretrained(folder)
    return folder


def logits(model):
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits.float()


def test_quantisations_are_what_they_say_and_near_the_whole_model(tiny):
    from src.models.load import load

    whole = logits(load(tiny).model)
    for quantization, kind, error in (("int8", "Linear8bitLt", 0.05), ("nf4", "Linear4bit", 0.3)):
        model = load(tiny, quantization=quantization).model
        kinds = {type(layer).__name__ for name, layer in model.named_modules() if name.endswith("_proj")}
        assert kinds == {kind}
        assert not model.training
        difference = (logits(model) - whole).norm() / whole.norm()
        assert 0 < difference < error


def test_nf4_is_doubly_quantised_and_stays_trainable_on_a_cpu(tiny):
    from src.models.load import load

    layers = [layer for layer in load(tiny, quantization="nf4").model.modules() if type(layer).__name__ == "Linear4bit"]
    assert len(layers) == 14
    assert {layer.support_avx512bf16_for_cpu for layer in layers} == {False}
    assert {layer.weight.quant_state.quant_type for layer in layers} == {"nf4"}
    assert all(layer.weight.quant_state.nested for layer in layers)


def test_an_adapter_brings_its_tokenizer(tiny, adapter, tmp_path):
    from src.models.load import load

    loaded = load(tiny, adapter=adapter)
    assert loaded.tokenizer.chat_template == "another"
    assert (logits(loaded.model) - logits(load(tiny).model)).abs().max() > 1e-3
    bare = shutil.copytree(adapter, tmp_path / "bare", ignore=lambda *_: ["tokenizer_config.json", "tokenizer.json", "chat_template.jinja"])
    assert "im_start" in load(tiny, adapter=Path(bare)).tokenizer.chat_template
    with pytest.raises(MlxError, match=r"is no adapter \(it has no adapter_config.json\)"):
        load(tiny, adapter=tiny)


def test_dtypes(tiny):
    import torch

    from src.models.load import load, pick_dtype
    from src.models.size import TINY

    assert load(tiny).model.dtype == torch.float32
    assert load(tiny, dtype="bf16").model.dtype == torch.bfloat16
    assert pick_dtype("auto", "cpu", TINY) == torch.bfloat16  # too large for fp32
    with pytest.raises(MlxError, match="'fp8' is no dtype"):
        load(tiny, dtype="fp8")


def test_devices(tiny, monkeypatch):
    import torch

    from src.models.load import load, pick_device, pick_dtype

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MlxError, match="no CUDA device: torch sees none"):
        load(tiny, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == "cuda:0"
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert pick_dtype("auto", "cuda:0", 1) == dtype


def test_a_tokenizer_without_a_pad_is_given_one_it_does_not_use(tiny, tmp_path):
    from src.models.load import load_tokenizer

    folder = Path(shutil.copytree(tiny, tmp_path / "padless"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(folder).pad_token == "<|pad|>"


def test_bitsandbytes_that_is_missing(tiny, monkeypatch):
    from src.models import load as module

    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "bitsandbytes" else find_spec(name))
    with pytest.raises(MlxError, match="quantization nf4 needs the package bitsandbytes"):
        module.load(tiny, quantization="nf4")
    assert module.load(tiny).model


def test_folders_that_are_no_models(tiny, tmp_path):
    from src.models.load import load

    with pytest.raises(MlxError, match=r"no model folder ./nowhere \(looked from "):
        load("./nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MlxError, match=r"empty is no model \(it has no config.json\)"):
        load(tmp_path / "empty")
    with pytest.raises(MlxError, match="is a file"):
        load(tiny / "config.json")
    pickled = shutil.copytree(tiny, tmp_path / "pickled")
    (Path(pickled) / "model.safetensors").rename(Path(pickled) / "pytorch_model.bin")
    with pytest.raises(MlxError, match="has no weights in safetensors"):
        load(pickled)
    (Path(pickled) / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(MlxError, match="pickled cannot be loaded: "):
        load(pickled)


def test_the_hub_cannot_be_reached():
    from src.models.load import load

    with pytest.raises(MlxError, match="OWNER/NAME is not on this machine and the hub cannot be reached"):
        load("OWNER/NAME")
    with pytest.raises(MlxError, match="neither a folder here nor a model on the hub"):
        load("no such name!")


class Hub(BaseHTTPRequestHandler):
    """A hub that has nothing to give: each owner is another refusal."""

    refusals: ClassVar = {
        "gated": (403, "GatedRepo"),
        "missing": (404, "RepoNotFound"),
        "empty": (404, "EntryNotFound"),
        "broken": (418, ""),
    }

    def do_HEAD(self):
        status, code = next(refusal for owner, refusal in self.refusals.items() if f"/{owner}/" in self.path)
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The loopback hub in place of the real one."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("gated/llama", "gated/llama is gated on the hub", "HF_TOKEN"),
        ("missing/llama", "missing/llama is neither a folder here nor a model on the hub", "HF_TOKEN"),
        ("empty/llama", "empty/llama cannot be loaded: ", "causal language model"),
        ("broken/llama", "broken/llama: the hub refuses it: ", "check the name"),
    ],
)
def test_what_the_hub_refuses(hub, name, words, hint):
    from src.models.load import load

    with pytest.raises(MlxError, match=words) as error:
        load(name)
    assert hint in error.value.hint


def test_sizes_are_told_without_weights_or_network(tiny):
    from src.models.size import known_parameters

    config = json.loads((tiny / "config.json").read_text())
    expected = config["vocab_size"] * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64) + 64
    assert known_parameters(tiny) == expected  # tied embeddings counted once
    assert known_parameters("OWNER/NAME") is None
