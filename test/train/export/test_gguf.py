"""A GGUF file holds the model's weights as llama.cpp wants them, and a tokenizer that reads the same tokens, or is refused."""

import json
import os
import random
import subprocess
from pathlib import Path
from unicodedata import normalize

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGUFReader
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from src.cli import application
from src.core.errors import MlxError
from src.models.likelihood import token_log_probs
from src.models.load import load, load_tokenizer
from src.train.export import pre_tokenizers as rules
from src.train.export.families import Shape
from src.train.export.gguf_file import check_gguf, write_gguf
from src.train.export.vocabulary import plain_template

LLAMA3 = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FAMILIES = {
    "llama": ("Llama", {"num_key_value_heads": 2}),
    "llama-3.1": ("Llama", {"num_key_value_heads": 2, "rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64}}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}}),
    "llama-biases": ("Llama", {"attention_bias": True, "tie_word_embeddings": False}),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 200, "head_dim": 32}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 32}),
}


@pytest.fixture
def model(tmp_path, tiny):
    """A function that leaves a random model of a family in this test's folder."""

    def make(family, **more):
        kind, settings = FAMILIES[family]
        tokenizer = load_tokenizer(tiny)
        sizes = {
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
        }
        common = {"vocab_size": 448, "tie_word_embeddings": True, "initializer_range": 0.3, "eos_token_id": tokenizer.eos_token_id}
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**{**sizes, **common, **settings, **more})
        made = getattr(transformers, f"{kind}ForCausalLM")(config)
        for name, weight in made.named_parameters():  # no bias is zero, no norm is one
            if weight.dim() == 1:
                torch.nn.init.normal_(weight, mean=float("norm" in name), std=0.2)
        made.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_comes_back(model, family):
    folder = model(family)
    count = write_gguf(folder, Path("m.gguf"), name="m", kind="f32")
    assert count == load(folder).model.num_parameters()
    fields = GGUFReader("m.gguf").fields
    assert fields["general.architecture"].contents() == ("llama" if family.startswith(("llama", "mistral")) else family)
    # transformers gives a qwen2 model qwen2's rules, whatever its tokenizer.json says
    assert fields["tokenizer.ggml.pre"].contents() == ("qwen2" if family == "qwen2" else "smollm")
    arch = fields["general.architecture"].contents()
    assert fields[f"{arch}.context_length"].contents() == (200 if family == "mistral" else 512)  # the window, which llama.cpp does not know


@pytest.mark.parametrize(("kind", "error"), [("f16", 1e-3), ("bf16", 8e-3), ("q8_0", 1e-2)])
def test_matrices_are_rounded_and_vectors_are_not(model, kind, error):
    folder = model("qwen2", intermediate_size=80)  # rows of 80 have no whole blocks of 32
    write_gguf(folder, Path("m.gguf"), name="m", kind=kind)
    weights = load(folder).model.state_dict()
    for tensor in GGUFReader("m.gguf").tensors:
        names = {
            "blk.0.attn_k.bias": "model.layers.0.self_attn.k_proj.bias",
            "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight",
        }
        if tensor.name not in names:
            continue
        wanted = weights[names[tensor.name]].numpy()
        found = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(wanted.shape)
        apart = np.abs(found - wanted).max() / np.abs(wanted).max()
        assert apart == 0 if wanted.ndim == 1 else 0 < apart < error
        if kind == "q8_0" and wanted.ndim == 2:
            assert tensor.tensor_type.name == "F16"


def test_a_weight_in_the_wrong_order_is_found(model, monkeypatch):
    folder = model("llama")
    monkeypatch.setattr(Shape, "turn", lambda self, name, weight: weight)
    with pytest.raises(MlxError, match=r"layers\.0\.self_attn\.k_proj\.weight is off by"):
        write_gguf(folder, Path("m.gguf"), name="m", kind="f32")


def test_a_weight_that_is_missing_is_found(model):
    folder = model("llama")
    write_gguf(folder, Path("m.gguf"), name="m", kind="f32")
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "model.layers.1.self_attn.q_proj.bias": torch.ones(64)}, folder / "model.safetensors")
    with pytest.raises(MlxError, match=r"lacks model\.layers\.1\.self_attn\.q_proj\.bias"):
        check_gguf(folder, Path("m.gguf"), Shape(json.loads((folder / "config.json").read_text())))


def test_a_weight_too_large_for_f16_is_named(model):
    folder = model("llama")
    made = load(folder).model
    made.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e5
    made.save_pretrained(folder)
    with pytest.raises(MlxError, match=r"up_proj\.weight holds weights too large for f16") as error:
        write_gguf(folder, Path("m.gguf"), name="m", kind="f16")
    assert "--type bf16" in error.value.hint


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gemma2"}, "a gemma2 model cannot be written as GGUF here: known are llama"),
        ({"hidden_act": "gelu"}, "its activation is gelu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "stretched by yarn"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "only a part of each head"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "attend to a window only"),
        ({"mlp_bias": True}, "feed-forward layers have biases"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused_by_name(config, words):
    plain = {"model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 64, "max_position_embeddings": 64}
    with pytest.raises(MlxError, match=words) as error:
        Shape({**plain, **config})
    assert "vLLM" in error.value.hint


def described(steps, **model):
    tokenizer = Tokenizer(models.BPE({"a": 0, "Ċ": 1, "ĊĊ": 2}, [("Ċ", "Ċ")] if model.pop("newlines", False) else [], **model))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return json.loads(tokenizer.to_str())


BYTES, GPT2 = (pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex) for regex in (False, True))
DIGITS, NEWLINE = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split(Regex("\n"), "isolated")
L3, Q2, TEKKEN = (pre_tokenizers.Split(Regex(each), "isolated") for each in (rules._LLAMA3, rules._QWEN2, rules._TEKKEN))


@pytest.mark.parametrize(
    ("steps", "model", "name"),
    [
        ([GPT2], {}, "gpt-2"),
        ([DIGITS, GPT2], {}, "smollm"),
        ([NEWLINE, DIGITS, GPT2], {}, "smollm"),
        ([L3, BYTES], {"ignore_merges": True}, "llama-bpe"),
        ([L3, BYTES], {}, "smaug-bpe"),
        ([Q2, BYTES], {}, "qwen2"),
        ([TEKKEN, BYTES], {"ignore_merges": True}, "tekken"),
    ],
)
def test_the_pre_tokenizer_is_known_by_its_steps(steps, model, name):
    assert rules.pre_tokenizer(described(steps, **model)) == name


@pytest.mark.parametrize(
    ("steps", "model", "words"),
    [
        ([NEWLINE, DIGITS, GPT2], {"newlines": True}, "has no pre-tokenizer that cuts text as this"),
        ([NEWLINE, Q2, BYTES], {}, "has no pre-tokenizer"),
        ([Q2, BYTES], {"ignore_merges": True}, "has no pre-tokenizer"),
        ([pre_tokenizers.ByteLevel(add_prefix_space=True)], {}, "has no pre-tokenizer"),
        ([pre_tokenizers.Whitespace()], {}, "Whitespace"),
        ([pre_tokenizers.Metaspace()], {"byte_fallback": True}, "a SentencePiece tokenizer is not written"),
    ],
)
def test_one_that_llama_cpp_has_not_is_refused(steps, model, words):
    with pytest.raises(MlxError, match=words):
        rules.pre_tokenizer(described(steps, **model))


def test_normalising_other_than_nfc_and_greedy_tokens_are_refused():
    made = described([GPT2])
    assert rules.pre_tokenizer({**made, "normalizer": {"type": "NFC"}}) == "gpt-2"
    with pytest.raises(MlxError, match=r"does not normalise text as this tokenizer does \(Lowercase"):
        rules.pre_tokenizer({**made, "normalizer": {"type": "Lowercase"}})
    token = {"content": "<x>", "lstrip": True, "rstrip": False, "single_word": False}
    assert rules.unusual([token, {**token, "content": "<y>", "lstrip": False}]) == ["<x>"]


def test_marks_for_training_are_taken_off_a_template_and_nothing_else_changes(tiny):
    tokenizer = load_tokenizer(tiny)
    messages = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user", "content": " three "}]
    before = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    tokenizer.chat_template = plain_template(tokenizer.chat_template)
    assert "generation %}" not in tokenizer.chat_template
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == before


def test_the_command_merges_writes_and_tells_how_to_run_it(tmp_path, leave):
    leave(tmp_path)
    done = CliRunner().invoke(application([]), ["export", "gguf", "t.yaml", "--type", "q8_0", "--num-ctx", "256"])
    assert done.exit_code == 0, done.output
    place = Path("checkpoint/t/export/gguf")
    assert f"ollama create t -f {place}/Modelfile" in done.output
    text = (place / "Modelfile").read_text()
    assert text.startswith('FROM ./t-q8_0.gguf\nTEMPLATE """{{ range .Messages }}')
    assert 'SYSTEM """Be brief."""\nPARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 256\n' in text
    assert (place / "t-q8_0.gguf").exists() and "library_name: gguf" in (place / "README.md").read_text()


PROBE = Path(__file__).with_name("llama_probe.py")


def llama_cpp(file, texts, ids):
    done = subprocess.run(
        [os.environ["LLAMA_CPP_PYTHON"], PROBE, file],
        input=json.dumps({"texts": texts, "ids": ids}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def spoken(tokenizer, count):
    """Texts with all that pre-tokenizers trip over."""
    chance = random.Random(0)
    parts = [
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\r\n",
        "a",
        "Ahoy",
        "red",
        "'s",
        "'S",
        "'ll",
        "12",
        "3",
        " 5",
        "½",
        "²",
        "٣",
        "é",
        "e\u0301",
        "日本",
    ]
    parts += ["🌊", "!", "!!", ".", "_", "—", "\u00a0", "\u3000", "ſ", "ß", "<|im_end|>", "<tool_call>"]
    return ["".join(chance.choice(parts) for _ in range(chance.randint(1, 12))) for _ in range(count)]


@pytest.mark.skipif(not os.environ.get("LLAMA_CPP_PYTHON"), reason="needs LLAMA_CPP_PYTHON, a Python with llama-cpp-python")
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_reads_the_same_tokens_and_finds_them_as_likely(model, family):
    folder = model(family)
    write_gguf(folder, Path("m.gguf"), name="m", kind="f32")
    loaded = load(folder, dtype="fp32")
    # transformers brings text into NFC for qwen2, which llama.cpp leaves to whoever sends it
    texts = [normalize("NFC", text) if family == "qwen2" else text for text in spoken(loaded.tokenizer, 500)]
    ids = [[(7 * n * n + 11 * row) % 440 for n in range(90)] for row in range(4)]
    found = llama_cpp(Path("m.gguf").absolute(), texts, ids)
    assert found["tokens"] == [loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    ours = [token_log_probs(loaded.model, row) for row in ids]
    apart = [abs(left - right) for one, other in zip(ours, found["log_probs"], strict=True) for left, right in zip(one, other, strict=True)]
    assert max(apart) < 0.05 and np.mean(apart) < 5e-3  # llama.cpp keeps its cache in f16
    with torch.inference_mode():
        assert found["next"] == [int(loaded.model(torch.tensor([row])).logits[0, -1].argmax()) for row in ids]
